// The pages of a real gateway; the status page while it is under load.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { openPage, startBrowser, textOf, until } from './browser.mjs';
import { Gateway } from './gateway.mjs';
import { testStatusPage } from './suite.mjs';

const keys = 10000;

testStatusPage('a gateway with 10,000 keys', async () => {
    const gateway = new Gateway({ keys });
    await gateway.start();
    gateway.keys = keys;
    try {
        await gateway.useAllKeys();
        gateway.startLoad();
    } catch (error) {
        await gateway.stop().catch(() => {});
        throw error;
    }
    return gateway;
}, 'nginx-');

describe('the page of a key behind a password', () => {
    let browser, gateway;
    // What a browser does with what is typed into its window for passwords. It keeps that: each has a browser of their own.
    const open = async (username) => {
        const page = await openPage(await browser.createBrowserContext(), 'about:blank');
        await page.authenticate({ username, password: `${username}'s password` });
        page.faults = [];
        await page.goto(gateway.usageUrl);
        return page;
    };
    before(async () => {
        gateway = await new Gateway({ keys: 2 }).start();
        browser = await startBrowser();
    });
    after(async () => {
        await browser?.close();
        await gateway?.stop();
    });

    test('shows what belongs to the name', async () => {
        await gateway.useAllKeys();
        const page = await open('alice');
        await until(page, () => !document.getElementById('shown').hidden);
        assert.equal(await textOf(page, '#key-title'), 'alice');
        assert.match(await textOf(page, '#totals tbody'), /Today[^)]*\)1100/);
        await page.close();
    });

    test('asks for a key where none has that name', async () => {
        const page = await open('nobody');
        await until(page, () => document.activeElement.id === 'key');
        await page.close();
    });
});
