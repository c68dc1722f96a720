// Chromium, and what a test asks of a page in it.

import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import puppeteer from 'puppeteer-core';

const shots = new URL('../../build/page/', import.meta.url);
const axeSource = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const candidates = [process.env.LLM_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export const desk = { width: 1440, height: 900 };
export const wall = { width: 1920, height: 1080 };
export const phone = { width: 390, height: 844, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

export async function startBrowser() {
    await mkdir(shots, { recursive: true });
    return puppeteer.launch({
        executablePath: candidates.find((path) => path && existsSync(path)), headless: true,
        args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking', '--disable-sync',
            '--disable-component-update', '--font-render-hinting=none'],
    });
}

// A tab that writes down what must not be: errors, and requests to elsewhere.
export async function openPage(browser, url, { viewport = desk, scheme = 'light', motion = 'reduce' } = {}) {
    const page = await browser.newPage();
    page.faults = [];
    const { origin } = new URL(url);
    page.on('console', (message) => {
        if (['error', 'warn'].includes(message.type())) {
            page.faults.push(message.text());
        }
    });
    page.on('pageerror', (error) => page.faults.push(String(error)));
    page.on('dialog', (dialog) => {
        page.faults.push(`a dialog: ${dialog.message()}`);
        dialog.dismiss();
    });
    page.on('request', (request) => {
        if (!request.url().startsWith(`${origin}/`)) {
            page.faults.push(`a request to ${request.url()}`);
        }
    });
    await page.setViewport(viewport);
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }, { name: 'prefers-reduced-motion', value: motion }]);
    await page.goto(url);
    return page;
}

export function until(page, condition, ...args) {
    return page.waitForFunction(condition, { timeout: 30000, polling: 50 }, ...args);
}

export const textOf = (page, selector) => page.$eval(selector, (node) => node.textContent);

// On a phone the window grows with what does not fit into it.
export const widthOf = (page) => page.evaluate(() => Math.max(document.scrollingElement.scrollWidth, innerWidth));

export async function shoot(page, name, fullPage = true) {
    await page.screenshot({ path: fileURLToPath(new URL(`${name}.png`, shots)), fullPage });
}

// The serious findings of axe: for each rule, how often, and the first place.
export async function findings(page) {
    await page.evaluate(axeSource);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => `${id}: ${nodes.length} times, ${nodes[0].html} ${nodes[0].any.map((one) => one.message).join('; ')}`);
}
