import { defineConfig } from "vite";

// `npm run dev` serves the page itself and hands everything else to a broker.
const broker = process.env.MOORLINE_BROKER ?? "http://127.0.0.1:8080";

export default defineConfig({
  build: {
    target: ["es2022", "chrome123", "firefox120", "safari17.5"], // light-dark() needs no help there
    assetsInlineLimit: 0, // the CSP allows no data: scripts or styles
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 600,
  },
  server: {
    proxy: { "/api": { target: broker, ws: true } },
  },
});
