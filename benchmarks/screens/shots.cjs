// Takes pictures of every page that it is told, in three looks; what a page logs or fails to load is told on standard error.
const { chromium } = require("playwright-core");

const [executablePath, told] = process.argv.slice(2);
const { base, login, folder, pages } = JSON.parse(told);
const args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const looks = {
  light: { viewport: { width: 1360, height: 900 }, colorScheme: "light" },
  dark: { viewport: { width: 1360, height: 900 }, colorScheme: "dark" },
  narrow: { viewport: { width: 390, height: 844 }, colorScheme: "light" },
};

(async () => {
  const browser = await chromium.launch({ executablePath, args });
  let faults = 0;
  const fault = (what) => { faults += 1; console.error(what); };
  for (const [look, options] of Object.entries(looks)) {
    const page = await (await browser.newContext(options)).newPage();
    page.on("pageerror", (error) => fault(`${look} ${page.url()}: ${error.message}`));
    page.on("console", (message) => { if (message.type() === "error") fault(`${look} ${page.url()}: ${message.text()}`); });
    await page.goto(base + login);
    for (const [name, path] of Object.entries(pages)) {
      await page.goto(base + path);
      if (name === "request") await page.click("tbody a");
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) fault(`${look} ${name} is ${wide} pixels too wide`);
      await page.screenshot({ path: `${folder}/${name}-${look}.png`, fullPage: true });
    }
    await page.context().close();
  }
  await browser.close();
  process.exit(faults ? 1 : 0);
})();
