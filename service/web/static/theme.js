// Runs before the first paint, so that a chosen theme never flashes; without a choice the
// system's own is used. Not a module: modules run after the page is drawn.
(() => {
  const root = document.documentElement;
  /** @returns {string | null} */
  const kept = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null;
    }
  };
  const chosen = kept();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
})();
