// A model server that has every API.

import { setImmediate as nextTurn } from 'node:timers/promises';

import { serve } from './serve.mjs';
import { completions, embeddings } from './upstream/chat.mjs';
import { geminiTarget, handlers as geminiHandlers, running as geminiRunning } from './upstream/gemini.mjs';
import { messages } from './upstream/messages.mjs';
import { embed, generate } from './upstream/ollama.mjs';
import { planOf } from './upstream/plan.mjs';
import { responses } from './upstream/responses.mjs';
import { sendJson } from './upstream/writer.mjs';

const handlers = {
    '/v1/chat/completions': completions, '/v1/completions': completions, '/v1/embeddings': embeddings,
    '/v1/responses': responses, '/v1/messages': messages,
    '/api/chat': generate, '/api/generate': generate, '/api/embed': embed,
    ...geminiHandlers,
};

// A stream in the shape of each API that tells its usage as it goes and does not end by itself.
const openaiUsage = (n) => ({ prompt_tokens: 9, total_tokens: 9 + n, completion_tokens: n });
const ollamaUsage = (n) => ({ done: false, prompt_eval_count: 9, eval_count: n });
const sse = (event, name) => `${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(event)}\n\n`;
const line = (event) => `${JSON.stringify(event)}\n`;
const running = {
    '/v1/chat/completions': (n) => sse(
        { id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'on and' } }], usage: openaiUsage(n) }),
    '/v1/completions': (n) => sse({ id: 'c', object: 'text_completion', choices: [{ index: 0, text: 'on and' }], usage: openaiUsage(n) }),
    '/v1/responses': (n) => sse({ type: 'response.in_progress', sequence_number: n, usage: openaiUsage(n) }, 'response.in_progress'),
    '/v1/messages': (n) => sse({ type: 'message_delta', delta: {}, usage: { input_tokens: 9, output_tokens: n } }, 'message_delta'),
    '/api/chat': (n) => line({ model: 'm', message: { role: 'assistant', content: 'on and' }, ...ollamaUsage(n) }),
    '/api/generate': (n) => line({ model: 'm', response: 'on and', ...ollamaUsage(n) }),
    ...geminiRunning,
};
const typeOf = (path) => (path.startsWith('/api/') ? 'application/x-ndjson'
    : path === ':streamGenerateContent' ? 'application/json' : 'text/event-stream');

async function runOn(path, res) {
    res.setHeader('content-type', typeOf(path));
    for (let n = 100; !res.closed && n < 100000; n += 100) {
        res.write(running[path](n));
        await nextTurn();
    }
    res.destroy();
}

function answer(req, res, body) {
    // Azure's client has the model in the path, and Gemini's has.
    const gemini = geminiTarget(req.url);
    const path = gemini?.path ?? req.url.replace(/\?.*/, '').replace(/^\/(v1|openai)\/deployments\/[^/]+/, '/v1')
        .replace(/^\/openai\/v1\//, '/v1/');
    if (path === '/v1/models') {
        return sendJson(res, { object: 'list', data: [{ id: 'm1', object: 'model', created: 1790000000, owned_by: 'test' }] });
    }
    if (path === '/v1/messages/count_tokens') {
        return sendJson(res, { input_tokens: 7 });
    }
    if (path === '/api/tags') {
        return sendJson(res, { models: [{ name: 'm1', model: 'm1', size: 1 }] });
    }
    if (!handlers[path]) {
        res.statusCode = 501;
        return sendJson(res, { error: { message: `There is no ${path}.`, type: 'NotImplementedError', param: null, code: 501 } });
    }
    const plan = planOf(path, req.headers, { ...JSON.parse(body), ...(gemini && { model: gemini.model }) });
    if (plan.is('runs-on')) {
        return runOn(path, res);
    }
    if (plan.is('unknown-upstream')) {
        res.statusCode = 404;
        return sendJson(res, { error: { message: 'The model does not exist.', type: 'NotFoundError', param: null, code: 404 } });
    }
    return handlers[path](plan, res);
}

// Starts it, with a certificate where there is one ({ key, cert }).
export const startUpstream = (certificate) => serve(answer, { certificate });
