// Pointing at a message shows all of it, and the messages of the same request.
const told = document.querySelector(".told");
const diagram = document.querySelector(".diagram");
for (const arrow of diagram.querySelectorAll(".arrow")) {
  const title = arrow.querySelector("title");
  const text = title.textContent;
  title.remove();
  arrow.addEventListener("mouseenter", () => {
    told.textContent = text;
    told.hidden = false;
    const trace = arrow.dataset.trace;
    if (!trace) return;
    diagram.classList.add("following");
    for (const each of diagram.querySelectorAll(`[data-trace="${trace}"]`)) {
      each.classList.add("same");
    }
  });
  arrow.addEventListener("mouseleave", () => {
    told.hidden = true;
    diagram.classList.remove("following");
    for (const each of diagram.querySelectorAll(".same")) each.classList.remove("same");
  });
}
