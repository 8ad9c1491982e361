// The pages of the console, as its own navigation lists them: one that is added there is
// tested and has its picture taken, without being named here.

/** listed gives the pages of a running console: a short name, the title and the path of each. */
export async function listed(browser, base) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(base);
  const links = page.getByRole('navigation', { name: 'Pages' }).getByRole('link');
  await links.first().waitFor();
  const found = await links.evaluateAll((all) => all.map((a) => ({ title: a.textContent.trim(), path: a.getAttribute('href') })));
  await context.close();
  return found.map(({ title, path }) => ({ name: title.toLowerCase(), title, path }));
}

const ready = {
  overview: (p) => p.getByRole('region', { name: 'Top talkers by bytes' }).locator('tbody tr').first().waitFor(),
  explore: (p) => p.locator('section table tbody tr').first().waitFor(),
  exporters: (p) => p.getByRole('region', { name: 'Exporters' }).locator('tbody a').first().waitFor(),
  sql: async (p) => {
    await p.locator('.cm-content').waitFor();
    await p.getByRole('button', { name: 'Run', exact: true }).click();
    await p.getByRole('region', { name: 'Result' }).waitFor();
  },
  saved: (p) => p.getByRole('heading', { name: 'Saved views' }).waitFor(),
};

/** shows gives what waits until a page shows what it is for: its heading, unless something comes after that. */
export const shows = (name) => ready[name] ?? ((p) => p.locator('main h1').first().waitFor({ state: 'attached' }));
