import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const BACKEND = "http://127.0.0.1:8000";

export default defineConfig({
  base: "/app/",
  plugins: [react()],
  build: {
    // The Content-Security-Policy allows nothing inline, and small data URIs would not be cached by name.
    assetsInlineLimit: 0,
    // The oldest browsers that know light-dark().
    target: ["chrome123", "firefox120", "safari17.5"],
    license: true,
  },
  server: {
    proxy: {
      "/api": BACKEND,
      "/ws": { target: BACKEND, ws: true },
    },
  },
  test: {
    include: ["tests/**/*.test.{js,jsx}"],
    restoreMocks: true,
  },
});
