import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { defineConfig, type Plugin } from 'vite';
import { svelte } from '@sveltejs/vite-plugin-svelte';

const dist = resolve(import.meta.dirname, '../dist');

// The output folder holds a committed .gitkeep, so that the Go package that
// embeds it builds before the console was. Vite's emptyOutDir would delete it.
function emptyButKept(): Plugin {
  return {
    name: 'empty-but-kept',
    apply: 'build',
    buildStart() {
      mkdirSync(dist, { recursive: true });
      for (const name of readdirSync(dist)) {
        if (name !== '.gitkeep') rmSync(join(dist, name), { recursive: true });
      }
    },
    closeBundle() {
      const size = (dir: string): number =>
        readdirSync(dir, { withFileTypes: true }).reduce(
          (sum, e) => sum + (e.isDirectory() ? size(join(dir, e.name)) : statSync(join(dir, e.name)).size),
          0,
        );
      this.info(`web/dist holds ${Math.round(size(dist) / 1024)} KiB`);
    },
  };
}

export default defineConfig({
  plugins: [svelte(), emptyButKept()],
  build: {
    outDir: dist,
    emptyOutDir: false,
    target: 'es2022',
    // A data: URL in a style sheet would be one more thing the
    // Content-Security-Policy has to allow.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
  server: {
    proxy: { '/api': process.env.FLOWTALLY_URL ?? 'http://127.0.0.1:8080' },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
} as Parameters<typeof defineConfig>[0]);
