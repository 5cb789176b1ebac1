// A button copies the text of an element. Pages that were opened as files may have no clipboard to write to: there the text
// is selected and copied as by hand.
document.querySelectorAll("button[data-copies]").forEach((button) => {
  const source = document.getElementById(button.dataset.copies);
  const byHand = () => {
    const range = document.createRange();
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    if (!document.execCommand("copy")) throw new Error("not copied");
  };
  button.addEventListener("click", async () => {
    const before = button.textContent;
    try {
      await (navigator.clipboard ? navigator.clipboard.writeText(source.textContent).catch(byHand) : byHand());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Press Ctrl+C"; // the text is selected
    }
    setTimeout(() => (button.textContent = before), 2000);
  });
});
