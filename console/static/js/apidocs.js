"use strict";
// Swagger UI over our own description; nothing is asked of another host.
(() => {
  const place = document.getElementById("swagger");
  if (!place || !window.SwaggerUIBundle) return;
  // an operation's head is one button: the link that Swagger UI puts into it would be a control inside a control
  const plain = (_, system) => (props) => system.React.createElement("span", {}, props.text);
  // its fields have no labels; the row names the parameter
  new MutationObserver(() => {
    place.querySelectorAll("tr[data-param-name] :is(select, input, textarea):not([aria-label])").forEach((field) => {
      field.setAttribute("aria-label", field.closest("tr").dataset.paramName);
    });
  }).observe(place, { childList: true, subtree: true });
  window.SwaggerUIBundle({
    plugins: [() => ({ wrapComponents: { DeepLink: plain } })],
    url: place.dataset.from,
    domNode: place,
    presets: [window.SwaggerUIBundle.presets.apis],
    validatorUrl: null,
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    supportedSubmitMethods: ["get", "post"],
  });
})();
