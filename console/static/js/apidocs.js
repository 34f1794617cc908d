"use strict";
// Swagger UI over our own description; nothing is asked of another host.
(() => {
  const place = document.getElementById("swagger");
  if (!place || !window.SwaggerUIBundle) return;
  window.SwaggerUIBundle({
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
