// Put before MLflow's own script. `choices` are kept by MLflow in the browser; a visitor who has made one keeps it. The
// address #/experiments/ID names no page of an experiment: where the experiment has the view `rows` of ours, it opens
// this view, or `cells` as long as there are no rows. Every other address, and every other experiment, stays MLflow's.
((choices, tag, filter, pages) => {
  for (const [key, value] of Object.entries(choices)) {
    if (localStorage.getItem(key) === null) localStorage.setItem(key, value);
  }

  const ask = async (path, body) => {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(`ajax-api/2.0/mlflow/${path}`, body ? options : {});
    return answer.ok ? answer.json() : {};
  };

  const chosen = ([key, value]) => localStorage.getItem(key) === value;
  let place = null; // where the visitor went last, if that is an experiment without a page
  const enter = async () => {
    const here = /^#\/experiments\/(\d+)(\?workflowType=machine_learning)?$/.exec(location.hash);
    place = here;
    if (!here || !(here[2] || chosen(Object.entries(choices)[0]))) return;
    const [, id] = here;
    const { experiment } = await ask(`experiments/get?experiment_id=${id}`);
    if (!experiment?.tags?.some(({ key }) => key === tag)) return;
    const { runs } = await ask("runs/search", { experiment_ids: [id], filter, max_results: 1 });
    // MLflow may have replaced the address by a page of its own choice meanwhile. A visitor who went on stays there.
    if (place === here) location.replace(pages[runs ? "rows" : "cells"].replace("ID", id));
  };

  const push = history.pushState; // MLflow goes to its pages by it, and it causes no event
  history.pushState = function (...entry) {
    push.apply(this, entry);
    enter();
  };
  addEventListener("popstate", enter);
  enter();
})
