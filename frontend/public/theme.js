// Before the first paint: a theme that the user chose must not flash the other one.
(function () {
  try {
    var theme = localStorage.getItem("vouchstorm.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch (error) {
    // Site data are blocked: the system's theme it is.
  }
})();
