// Put before MLflow's own script. `choices` are kept by MLflow in the browser; a visitor who has made one keeps it. The
// addresses #/experiments/ID and #/experiments/ID/runs say nothing of what is shown: where the experiment has the view
// `rows` of ours, they open this view, or `cells` as long as there are no rows. The second address is that of MLflow's
// "Runs" and of its names of experiments above a run; a visitor who has made a list of runs for it keeps this list.
// Every other address, and every other experiment, stays MLflow's.
((choices, tag, filter, pages) => {
  for (const [key, value] of Object.entries(choices)) {
    if (localStorage.getItem(key) === null) localStorage.setItem(key, value);
  }

  const ask = async (path, body) => {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const answer = await fetch(`ajax-api/2.0/mlflow/${path}`, body ? options : {});
    return answer.ok ? answer.json() : {};
  };

  // The experiment of an address that says nothing of what is shown, or null.
  const entered = () => {
    const [, id, runs, query] = /^#\/experiments\/(\d+)(\/runs)?(?:\?(.*))?$/.exec(location.hash) ?? [];
    const { workflowType, startTime = "ALL", ...more } = Object.fromEntries(new URLSearchParams(query));
    const [[key, training]] = Object.entries(choices);
    const trains = (workflowType ? JSON.stringify(workflowType) : localStorage.getItem(key)) === training;
    if (!id || !trains || startTime !== "ALL" || Object.keys(more).length) return null;
    const list = `MLflowLocalStorage-1.1-ExperimentPage-["${id}"]-ReactComponentState`; // MLflow 3.17 keeps it here
    const has = localStorage.getItem(list) !== null;
    return runs && has ? null : { id, list, has };
  };

  const VIEW = "viewStateShareKey="; // in the address of a prepared view
  let place = null; // where the visitor went last, if that is such an address
  const enter = async () => {
    const here = (place = entered());
    if (!here) return;
    const { experiment } = await ask(`experiments/get?experiment_id=${here.id}`);
    if (!experiment?.tags?.some(({ key }) => key === tag)) return;
    const { runs } = await ask("runs/search", { experiment_ids: [here.id], filter, max_results: 1 });
    if (place === here) stay(here, pages[runs ? "rows" : "cells"].replace("ID", here.id), 20);
  };

  let opening = false; // a view, just now: the next event tells of this, and of no step of the visitor

  // Open a view, and again for five seconds where MLflow puts a list of its own in its place, for which it had asked
  // before. MLflow keeps such a list as if the visitor had made it. A visitor who goes on ends this.
  const stay = (here, view, looks) => {
    opening = place === here && looks > 0 && !location.hash.includes(VIEW);
    if (place !== here || !looks) return;
    if (!here.has) localStorage.removeItem(here.list);
    if (opening) location.replace(view);
    setTimeout(stay, 250, here, view, looks - 1);
  };

  const push = history.pushState; // MLflow goes to its pages by it, and it causes no event
  history.pushState = function (...entry) {
    push.apply(this, entry);
    enter();
  };
  addEventListener("popstate", () => (opening ? (opening = false) : enter()));
  for (const touch of ["pointerdown", "keydown"]) addEventListener(touch, () => (place = null), true);
  enter();
})
