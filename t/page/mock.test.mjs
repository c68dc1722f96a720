// The pages with figures that are made up: they have everything, move, and can be taken away.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { desk, findings, openPage, phone, shoot, startBrowser, textOf, until, wall, widthOf } from './browser.mjs';
import { markup, Mock } from './mock.mjs';
import { ready, testStatusPage } from './suite.mjs';

testStatusPage('the status page', async () => {
    const mock = await new Mock({ keys: 10000, running: 14 }).start();
    mock.keys = 10000;
    return mock;
});

describe('the status page and its gateway', () => {
    let browser, mock, page;
    const begin = async (options, more = {}) => {
        mock = await new Mock(options).start();
        page = await openPage(browser, mock.url, more);
        await until(page, () => document.body.dataset.state === 'live');
    };
    const end = async (faults = []) => {
        assert.deepEqual(page.faults, faults);
        await page.close();
        await mock.stop();
    };
    before(async () => { browser = await startBrowser(); });
    after(() => browser?.close());

    test('it tells when there is no connection, and goes on when there is', async () => {
        await begin({});
        await ready(page);
        assert.equal(await page.$eval('#lost', (node) => node.hidden), true);
        await mock.stop();
        await until(page, () => document.body.dataset.state === 'lost');
        assert.match(await textOf(page, '#lost'), /^The gateway cannot be reached\. .*Trying again\.$/);
        assert.equal(await textOf(page, '#state'), 'No connection');
        assert.deepEqual(await findings(page), []);
        await shoot(page, 'lost', false);
        const stream = mock.startStream('after', 'm');
        await mock.start();
        await until(page, () => document.body.dataset.state === 'live');
        assert.equal(await page.$eval('#lost', (node) => node.hidden), true);
        await until(page, () => document.querySelector('#running tbody').textContent.includes('after'));
        await stream.end();
        page.faults = page.faults.filter((fault) => !fault.includes('net::ERR_'));
        await end();
    });

    test('it rests while nobody sees it', async () => {
        await begin({});
        await ready(page);
        const setHidden = (hidden) => page.evaluate((value) => {
            Object.defineProperty(document, 'hidden', { value, configurable: true });
            document.dispatchEvent(new Event('visibilitychange'));
        }, hidden);
        await setHidden(true);
        const asked = mock.seen.length;
        // Twice as long as it takes to ask again.
        await page.evaluate(() => new Promise((resolve) => { setTimeout(resolve, 2000); }));
        assert.equal(mock.seen.length, asked);
        await setHidden(false);
        await page.waitForResponse((response) => response.url().includes('view=live'));
        await end();
    });

    test('it keeps to its parts of the figures', async () => {
        await begin({});
        await ready(page);
        await page.waitForResponse((response) => response.url().includes('view=keys'));
        const asked = mock.seen.filter((url) => url !== '/llm/' && url !== '/favicon.ico');
        assert.ok(asked.length >= 3);
        assert.deepEqual(asked.filter((url) => !/^\/llm\/\?view=(live|keys&filter=&sort=tokens&limit=50&offset=0)$/.test(url)), []);
        await end();
    });

    test('nothing has happened yet', async () => {
        await begin({ empty: true });
        await until(page, () => !document.getElementById('keys-empty').hidden);
        for (const id of ['running', 'refusals', 'outcomes', 'models', 'keys', 'sources']) {
            assert.equal(await page.$eval(`#${id}-empty`, (node) => node.hidden), false, id);
            assert.ok((await textOf(page, `#${id}-empty`)).length > 10, id);
        }
        assert.deepEqual(await findings(page), []);
        await shoot(page, 'empty');
        await end();
    });

    test('one zone of several', async () => {
        await begin({ zones: ['batch', markup] });
        await ready(page);
        assert.deepEqual(await page.$$eval('#zone option', (options) => options.map((option) => option.textContent)), ['llm', 'batch', markup]);
        assert.equal(await page.$eval('#zone-pick', (node) => node.hidden), false);
        await page.select('#zone', 'batch');
        await until(page, () => document.querySelector('#keys tbody tr') === null && document.querySelector('#running tbody tr') === null);
        await page.select('#zone', 'llm');
        await ready(page);
        await until(page, () => document.querySelector('#running tbody tr') !== null);
        await end();
    });

    test('it asks its own host only, whatever its path is', async () => {
        mock = await new Mock({}).start();
        page = await openPage(browser, `${mock.origin}//127.0.0.2/llm/`);
        await ready(page);
        assert.ok(mock.seen.includes('//127.0.0.2/llm/?view=live'));
        await end();
    });

    test('while it is paused, what is asked for is still shown', async () => {
        await begin({ keys: 300 });
        await ready(page);
        await page.click('#pause');
        await until(page, () => document.body.dataset.state === 'paused');
        await page.type('#filter', 'key-00123');
        await until(page, () => document.querySelectorAll('#keys tbody tr').length === 1);
        assert.equal(await textOf(page, '#state'), 'Paused');
        await end();
    });

    test('a bar is as long as its part', async () => {
        await begin({ running: 2 });
        await ready(page);
        const stream = mock.startStream('nothing yet', 'm');
        mock.figures.running.at(-1).first = Infinity;
        await until(page, () => document.querySelectorAll('#running tbody tr').length === 3);
        const shown = await page.$$eval('#running tbody tr', (rows) => rows.map((row) => {
            const [line, fill] = ['.bar', '.fill'].map((name) => row.querySelector(name).getBoundingClientRect().width);
            return { tokens: Number(row.querySelector('.grow span').textContent.replaceAll(',', '')), part: fill / line };
        }));
        const most = Math.max(...shown.map(({ tokens }) => tokens));
        assert.equal(shown.at(-1).tokens, 0);
        for (const { tokens, part } of shown) {
            assert.ok(Math.abs(part - tokens / most) < 0.01, `${tokens} of ${most} is ${part}`);
        }
        await stream.end();
        await end();
    });

    test('a gateway that tells less', async () => {
        await begin({ book: false, keys: 300 });
        await ready(page);
        assert.equal(await page.$$eval('#running tbody tr', (rows) => rows.length), 9);
        assert.equal(await textOf(page, '#keys-count'), '300');
        await page.type('#filter', 'key-00123');
        await until(page, () => document.querySelectorAll('#keys tbody tr').length === 1);
        assert.deepEqual(await findings(page), []);
        await end();
    });

    test('nothing moves where nothing is to move', async () => {
        const moving = () => page.evaluate(() => {
            const style = (selector) => getComputedStyle(document.querySelector(selector));
            return [style('.fill').transitionDuration, style('tr.new')?.animationName];
        });
        for (const [motion, expected] of [['reduce', ['0s', 'none']], ['no-preference', ['0.6s', 'arrive']]]) {
            await begin({}, { motion });
            await ready(page);
            const stream = mock.startStream('new one', 'm');
            await until(page, () => document.querySelector('tr.new') !== null);
            assert.deepEqual(await moving(), expected, motion);
            await stream.end();
            await end();
        }
    });

    test('on the wall', async () => {
        await begin({ keys: 10000, running: 40 }, { viewport: wall, scheme: 'dark' });
        await ready(page);
        await shoot(page, 'wall', false);
        await page.$eval('#keys-title', (node) => node.scrollIntoView());
        await shoot(page, 'keys', false);
        await end();
    });
});

describe('the page of a key', () => {
    let browser, mock;
    const open = (options) => openPage(browser, mock.usageUrl, options);
    const give = async (page, key) => {
        await page.type('#key', key);
        await page.keyboard.press('Enter');
    };
    before(async () => {
        mock = await new Mock().start();
        browser = await startBrowser();
    });
    after(async () => {
        await browser?.close();
        await mock?.stop();
    });

    test('a wrong key', async () => {
        const page = await open();
        await until(page, () => document.activeElement.id === 'key');
        assert.deepEqual(await findings(page), []);
        await give(page, 'sk-wrong');
        await until(page, () => !document.getElementById('wrong').hidden);
        assert.equal(await textOf(page, '#wrong'), `Wrong key ${markup}`);
        assert.equal(await page.$('img'), null);
        await page.$eval('#key', (input) => { input.value = 'sk gr\u00fc\u00df'; });
        await page.click('#ask button');
        await until(page, () => document.getElementById('wrong').textContent.startsWith('A key has no blanks'));
        assert.deepEqual(page.faults.filter((fault) => !fault.includes('401')), []);
        await page.close();
    });

    for (const [look, options] of Object.entries({
        light: { viewport: desk }, dark: { viewport: desk, scheme: 'dark' }, phone: { viewport: phone },
    })) {
        test(`a good key: ${look}`, async () => {
            const page = await open(options);
            await give(page, 'sk-good');
            await until(page, () => !document.getElementById('shown').hidden);
            assert.equal(await textOf(page, '#key-title'), 'alice');
            assert.equal(await page.$$eval('#limits li', (items) => items.length), 4);
            assert.match(await textOf(page, '#totals tbody'), /Today \(since 2026-11-28, UTC\).*12.*This month/s);
            assert.equal(await page.$$eval('#models tbody th', (heads) => heads.at(-1).textContent), markup);
            assert.deepEqual(await findings(page), []);
            assert.equal(await widthOf(page), options.viewport.width, 'the page does not scroll sideways');
            await shoot(page, `usage-${look}`);
            await page.close();
            assert.deepEqual(page.faults, []);
        });
    }

    test('the key is in memory only', async () => {
        const page = await open();
        await give(page, 'sk-good');
        await until(page, () => !document.getElementById('shown').hidden);
        const kept = () => page.evaluate(() => [document.documentElement.outerHTML, location.href, document.cookie,
                                                ...[...document.querySelectorAll('input')].map((input) => input.value),
                                                JSON.stringify(localStorage), JSON.stringify(sessionStorage)].join('\n'));
        assert.ok(!(await kept()).includes('sk-good'));
        assert.ok(!mock.seen.some((url) => url.includes('sk-good')));
        await page.click('#forget');
        await until(page, () => document.getElementById('shown').hidden && document.activeElement.id === 'key');
        assert.ok(!(await kept()).includes('alice') || await page.$eval('#shown', (node) => node.hidden));
        await page.reload();
        assert.equal(await page.$eval('#shown', (node) => node.hidden), true);
        assert.deepEqual(page.faults, []);
        await page.close();
    });
});

describe('the page of a key, where nginx knows who it is', () => {
    let browser, mock, page;
    const isHidden = (id) => page.$eval(`#${id}`, (node) => node.hidden);
    before(async () => {
        mock = await new Mock({ known: true }).start();
        browser = await startBrowser();
    });
    after(async () => {
        await browser?.close();
        await mock?.stop();
    });

    test('it asks for nothing', async () => {
        page = await openPage(browser, mock.usageUrl);
        await until(page, () => !document.getElementById('shown').hidden);
        assert.equal(await textOf(page, '#key-title'), 'alice');
        assert.equal(await isHidden('ask'), true);
        assert.equal(await textOf(page, '#forget'), 'Use a key');
        assert.deepEqual(await findings(page), []);
        assert.deepEqual(page.faults, []);
    });

    test('but takes a key from those who have one', async () => {
        await page.click('#forget');
        await until(page, () => document.getElementById('shown').hidden && document.activeElement.id === 'key');
        assert.equal(await isHidden('wrong'), true);
        await page.type('#key', 'sk-good');
        await page.keyboard.press('Enter');
        await until(page, () => !document.getElementById('shown').hidden);
        assert.equal(await textOf(page, '#forget'), 'Forget the key');
        assert.deepEqual(page.faults, []);
        await page.close();
    });

    test('and asks for one where the name is nobody\'s', async () => {
        mock.isAllowed = false;
        page = await openPage(browser, mock.usageUrl);
        await until(page, () => !document.getElementById('ask').hidden && document.activeElement.id === 'key');
        assert.equal(await isHidden('wrong'), true, 'nobody has given a wrong key');
        assert.equal(await isHidden('shown'), true);
        assert.deepEqual(page.faults.filter((fault) => !fault.includes('401')), []);
        await page.close();
    });
});
