// The recipe for web applications, browser.conf, in a browser: what a page of the right origin may do, and one of another may not.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';

import { secrets, startGateway } from '../clients/gateway.mjs';
import { recipe } from '../clients/recipe.mjs';
import { text } from '../clients/upstream/plan.mjs';
import { startBrowser } from './browser.mjs';

const sdk = new URL('./node_modules/openai/', import.meta.url);
const page = '<!DOCTYPE html><meta charset="utf-8"><title>A chat</title><link rel="icon" href="data:,">';
const rare = 'sk-rare-0123456789';

// A web application: one page, and OpenAI's client for it.
async function startSite() {
    const server = createServer(async (req, res) => {
        if (req.url === '/') {
            res.writeHead(200, { 'content-type': 'text/html' }).end(page);
            return;
        }
        const module = await readFile(new URL(`.${req.url.replace('/openai', '')}`, sdk)).catch(() => null);
        res.writeHead(module ? 200 : 404, { 'content-type': 'text/javascript' }).end(module ?? '');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { server, origin: `http://127.0.0.1:${server.address().port}` };
}

describe('browser.conf', () => {
    let browser, gateway;
    const sites = [];
    const tabs = [];
    before(async () => {
        sites.push(await startSite(), await startSite());
        gateway = await startGateway([{ name: 'rare', sha256: createHash('sha256').update(rare).digest('hex'), limits: { requests: '2r/m', burst: 0 } }], {
            configure: recipe('browser', {
                changes: (port) => ({ 'server 127.0.0.1:8000;': `server 127.0.0.1:${port};`, 'https://chat.example.com': sites[0].origin }),
            }),
        });
        browser = await startBrowser();
        for (const { origin } of sites) {
            const tab = await browser.newPage();
            await tab.goto(`${origin}/`);
            tabs.push(tab);
        }
    });
    after(async () => {
        await browser?.close();
        await gateway?.stop();
        for (const { server } of sites) {
            server.closeAllConnections();
            server.close();
        }
    });

    // What the page sees of a chat that it asks for with this key.
    const ask = (tab, apiKey) => tab.evaluate(async (baseURL, key) => {
        const { default: OpenAI } = await import('/openai/index.mjs');
        const openai = new OpenAI({ baseURL, apiKey: key, dangerouslyAllowBrowser: true, maxRetries: 0 });
        try {
            const { data, response } = await openai.chat.completions
                .create({ model: 'm1', messages: [{ role: 'user', content: 'hi' }], stream: true }).withResponse();
            let said = '';
            for await (const chunk of data) {
                said += chunk.choices[0]?.delta.content ?? '';
            }
            return { said, left: response.headers.get('x-ratelimit-remaining-requests') };
        } catch (error) {
            return { failed: error.constructor.name, why: error.code ?? null, after: error.headers?.get('retry-after') ?? null };
        }
    }, gateway.url, apiKey);

    test('its page gets a stream, and sees its limits', async () => {
        const { said, left, ...rest } = await ask(tabs[0], secrets.good);
        assert.deepEqual(rest, {});
        assert.equal(said, text);
        assert.match(left, /^\d+$/);
        assert.deepEqual(gateway.upstream.seen.map(({ method }) => method), ['POST'], 'the browser has asked before: not the model server');
    });

    test('and why it is refused', async () => {
        assert.deepEqual(await ask(tabs[0], 'sk-wrong'), { failed: 'AuthenticationError', why: 'invalid_api_key', after: null });
        assert.equal((await ask(tabs[0], rare)).said, text);
        const { failed, after: seconds } = await ask(tabs[0], rare);
        assert.equal(failed, 'RateLimitError');
        assert.ok(Number(seconds) > 0, 'and when it may ask again');
    });

    test('another page gets nothing, whatever key it has', async () => {
        const before = gateway.upstream.seen.length;
        assert.deepEqual(await ask(tabs[1], secrets.good), { failed: 'APIConnectionError', why: null, after: null });
        assert.equal(gateway.upstream.seen.length, before, 'its browser does not even send it');
    });
});
