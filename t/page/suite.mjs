// What the status page has to do, whoever it asks: the mock or a gateway.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { desk, findings, openPage, phone, shoot, startBrowser, textOf, until, widthOf } from './browser.mjs';
import { markup } from './mock.mjs';

export const ready = (page) => until(page, () => document.body.dataset.state === 'live' && document.querySelector('#keys tbody tr') !== null);

// How the focused element is known.
const focused = (page) => page.evaluate(() => {
    const { id, tagName, className, textContent } = document.activeElement;
    return id ? `#${id}` : `${tagName.toLowerCase()}.${className} ${textContent.trim().slice(0, 20)}`;
});

async function tabTo(page, wanted) {
    const passed = [];
    for (let i = 0; i < 60; i++) {
        await page.keyboard.press('Tab');
        const at = await focused(page);
        passed.push(at);
        const line = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
        assert.notEqual(line, 'none', `the focus on ${at} can be seen`);
        if (at === wanted) {
            return passed;
        }
    }
    assert.fail(`${wanted} cannot be reached: ${passed.join(', ')}`);
}

// start() resolves to {url, keys, startStream(), stop()}.
export function testStatusPage(name, start, shotPrefix = '') {
    describe(name, () => {
        let browser, gateway;
        const open = async (options) => {
            const page = await openPage(browser, gateway.url, options);
            await ready(page);
            return page;
        };
        const close = async (page) => {
            assert.deepEqual(page.faults, [], 'no error, and nothing is asked elsewhere');
            await page.close();
        };
        before(async () => {
            gateway = await start();
            browser = await startBrowser();
        });
        after(async () => {
            await browser?.close();
            await gateway?.stop();
        });

        test('numbers and lines move', async () => {
            const page = await open();
            await until(page, () => [...document.querySelectorAll('.chart .line')]
                .some((line) => /,(?!100\.00)[\d.]+L/.test(line.getAttribute('d'))));
            const look = () => page.evaluate(() => ({
                lines: [...document.querySelectorAll('.chart')].map((chart) => chart.querySelector('.line').getAttribute('d')),
                figures: [...document.querySelectorAll('.tile .figure')].map((node) => node.textContent).join(' '),
                keys: document.querySelector('#keys tbody').textContent, models: document.querySelector('#models tbody').textContent,
            }));
            const first = await look();
            for (let i = 0; i < 3; i++) {
                await until(page, (at, old) => (
                    document.querySelectorAll('.chart .line:not([data-tone="bad"])')[at].getAttribute('d') !== old), i, first.lines[i]);
            }
            await until(page, (old) => (
                [...document.querySelectorAll('.tile .figure')].map((node) => node.textContent).join(' ') !== old), first.figures);
            await until(page, (old) => document.querySelector('#keys tbody').textContent !== old, first.keys);
            await until(page, (old) => document.querySelector('#models tbody').textContent !== old, first.models);
            await close(page);
        });

        test('a running stream appears, grows and goes', async () => {
            const page = await open();
            const growing = (low) => until(page, (from) => {
                const row = [...document.querySelectorAll('#running tbody tr')].find((one) => one.querySelector('.name').textContent === 'key-00007');
                const tokens = Number(row?.querySelector('.grow span').textContent.replaceAll(',', ''));
                return tokens > from ? tokens : false;
            }, low).then((handle) => handle.jsonValue());
            const stream = gateway.startStream('key-00007');
            const some = await growing(0);
            const more = await growing(some);
            assert.ok(more > some);
            await stream.end();
            await until(page, () => ![...document.querySelectorAll('#running tbody .name')].some((node) => node.textContent === 'key-00007'));
            await close(page);
        });

        test('one key of many thousands is found', async () => {
            const page = await open();
            await until(page, (count) => document.getElementById('keys-count').textContent === count, gateway.keys.toLocaleString('en'));
            await page.type('#filter', 'KEY-09876');
            await until(page, () => document.querySelectorAll('#keys tbody tr').length === 1);
            assert.equal(await textOf(page, '#keys tbody .name'), 'key-09876');
            assert.equal(await textOf(page, '#keys-found'), 'One key');
            await page.type('#filter', 'x');
            await until(page, () => document.querySelectorAll('#keys tbody tr').length === 0);
            assert.match(await textOf(page, '#keys-empty'), /No key has “KEY-09876x”/);
            await page.$eval('#filter', (input) => {
                input.value = '';
                input.dispatchEvent(new Event('input'));
            });
            await until(page, () => document.querySelectorAll('#keys tbody tr').length === 50);
            await page.select('#sort', 'name');
            await until(page, (first) => document.querySelector('#keys tbody .name').textContent === first, markup);
            await page.click('#on');
            await until(page, () => document.getElementById('range').textContent.startsWith('51 to 100 of '));
            await page.click('#back');
            await until(page, () => document.getElementById('range').textContent.startsWith('1 to 50 of '));
            await close(page);
        });

        test('names with markup are text', async () => {
            const page = await open();
            const stream = gateway.startStream(markup, markup);
            await until(page, (name) => {
                const cells = [...document.querySelectorAll('#running tbody .name')].map((node) => node.textContent);
                return cells.filter((text) => text === name).length >= 2;
            }, markup);
            await page.type('#filter', '<img');
            await until(page, () => document.querySelectorAll('#keys tbody tr').length === 1);
            assert.equal(await textOf(page, '#keys tbody .name'), markup);
            // Not every gateway tells the user.
            assert.match(await textOf(page, '#keys tbody .more'), /^(?:<img src=x onerror=alert\(1\)>&amp;.*)?$/);
            assert.equal(await page.$('img'), null);
            await stream.end();
            await close(page);
        });

        test('by keyboard alone', async () => {
            const page = await open();
            await page.keyboard.press('Tab');
            assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
            assert.ok(await page.evaluate(() => document.activeElement.getBoundingClientRect().left >= 0), 'the link to skip is seen');
            await page.keyboard.press('Enter');
            await until(page, () => document.activeElement.id === 'main');
            await page.evaluate(() => document.activeElement.blur());
            await page.reload();
            await ready(page);
            const passed = await tabTo(page, '#filter');
            assert.ok(passed.includes('#pause'), passed.join(', '));
            assert.ok(passed.filter((at) => at.startsWith('div.scroll')).length >= 2, 'tables that scroll can be reached');
            assert.ok(passed.filter((at) => at.startsWith('summary')).length === 3, 'and the tables of the lines');
            await page.keyboard.type('key-00021');
            await until(page, () => document.querySelectorAll('#keys tbody tr').length === 1);
            await tabTo(page, '#sort');
            for (let back = 0; back < 60 && await focused(page) !== '#pause'; back++) {
                await page.keyboard.down('Shift');
                await page.keyboard.press('Tab');
                await page.keyboard.up('Shift');
            }
            await page.keyboard.press('Space');
            await until(page, () => document.body.dataset.state === 'paused');
            assert.equal(await page.$eval('#pause', (node) => node.getAttribute('aria-pressed')), 'true');
            await page.keyboard.press('Space');
            await until(page, () => document.body.dataset.state === 'live');
            await close(page);
        });

        for (const [look, options] of Object.entries({
            light: { viewport: desk }, dark: { viewport: desk, scheme: 'dark' }, phone: { viewport: phone },
        })) {
            test(`axe finds nothing serious: ${look}`, async () => {
                const page = await open(options);
                const stream = gateway.startStream();
                await until(page, () => document.querySelector('#running tbody tr') !== null);
                assert.deepEqual(await findings(page), []);
                assert.equal(await widthOf(page), options.viewport.width, 'the page does not scroll sideways');
                await shoot(page, `${shotPrefix}${look}`, look !== 'phone');
                await stream.end();
                await close(page);
            });
        }
    });
}
