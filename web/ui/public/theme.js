// Before the first paint: the theme that was chosen here, else the system's.
(function () {
  var chosen = null;
  try {
    chosen = localStorage.getItem('flowtally.theme');
  } catch (e) {
    // Storage may be forbidden; the system's theme it is.
  }
  var dark = chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
