// A model server in vLLM's shape, with a fixed answer.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';

export const words = ['Grüße', ' from', ' the', ' "model"', ' \u{1F680}', '\nand', ' bye', '.'];

const promptTokens = 9;

function usage(completion) {
    return { prompt_tokens: promptTokens, total_tokens: promptTokens + completion, completion_tokens: completion };
}

function reply(request, res) {
    res.setHeader('content-type', 'application/json');
    res.end(JSON.stringify({
        id: 'chatcmpl-1', object: 'chat.completion', created: 1790000000, model: request.model,
        choices: [{
            index: 0, message: { role: 'assistant', content: words.join('') }, logprobs: null, finish_reason: 'stop',
        }],
        usage: usage(words.length),
    }));
}

// Anthropic's shape, which vLLM has too.
function message(request, res) {
    res.setHeader('content-type', 'application/json');
    res.end(JSON.stringify({
        id: 'msg_1', type: 'message', role: 'assistant', model: request.model,
        content: [{ type: 'text', text: words.join('') }], stop_reason: 'end_turn', stop_sequence: null,
        usage: { input_tokens: promptTokens, output_tokens: words.length },
    }));
}

async function stream(request, res) {
    const { include_usage: final, continuous_usage_stats: continuous } = request.stream_options ?? {};
    let sent = 0;
    const send = (choices, more) => res.write(`data: ${JSON.stringify({
        id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1790000000, model: request.model, choices, ...more,
    })}\n\n`);
    const delta = (content, finish_reason = null) => send([{ index: 0, delta: content, logprobs: null, finish_reason }],
                                                          continuous ? { usage: usage(sent) } : {});

    res.setHeader('content-type', 'text/event-stream; charset=utf-8');
    delta({ role: 'assistant', content: '' });
    for (const word of words) {
        sent++;
        delta({ content: word });
        await nextTurn();
        if (request.model === 'breaks') {
            res.write('data: {"error":{"message":"EngineCore died","type":"InternalServerError","param":null,"code":500}}\n\n');
            return res.end('data: [DONE]\n\n');
        }
        if (request.model === 'never-ends') {
            return;
        }
    }
    delta({ content: '' }, 'stop');
    if (final) {
        send([], { usage: usage(words.length) });
    }
    res.end('data: [DONE]\n\n');
}

// A stream in the shape of each API that tells its usage as it goes and does not end by itself.
async function runOn(url, res) {
    const form = {
        '/v1/chat/completions': ['', (n) => ({ id: 'c', object: 'chat.completion.chunk', choices: [], usage: usage(n) })],
        '/v1/responses': ['event: response.in_progress\n', (n) => ({ type: 'response.in_progress', sequence_number: n, usage: usage(n) })],
        '/v1/messages': ['event: message_delta\n', (n) => ({ type: 'message_delta', delta: {}, usage: { input_tokens: promptTokens, output_tokens: n } })],
    }[url];
    res.setHeader('content-type', 'text/event-stream');
    for (let n = 100; !res.closed && n < 100000; n += 100) {
        res.write(`${form[0]}data: ${JSON.stringify(form[1](n))}\n\n`);
        await nextTurn();
    }
    res.destroy();
}

function embeddings(request, res) {
    const inputs = [request.input].flat();
    const vector = new Float32Array([0.25, -0.5, 1]);
    const embedding = request.encoding_format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector];
    res.setHeader('content-type', 'application/json');
    res.end(JSON.stringify({
        id: 'embd-1', object: 'list', created: 1790000000, model: request.model,
        data: inputs.map((_, index) => ({ index, object: 'embedding', embedding })),
        usage: { prompt_tokens: 4 * inputs.length, total_tokens: 4 * inputs.length, completion_tokens: 0 },
    }));
}

async function answer(req, res, body) {
    if (req.url === '/v1/models') {
        res.setHeader('content-type', 'application/json');
        return res.end('{"object":"list","data":[{"id":"m1","object":"model","created":1790000000,"owned_by":"test"}]}');
    }
    const request = JSON.parse(body);
    if (req.url.startsWith('/v1/embeddings')) {
        return embeddings(request, res);
    }
    if (request.model === 'runs-on') {
        return runOn(req.url, res);
    }
    if (req.url.startsWith('/v1/messages')) {
        return message(request, res);
    }
    if (request.model === 'unknown-upstream') {
        res.writeHead(404, { 'content-type': 'application/json' });
        return res.end('{"error":{"message":"The model does not exist.","type":"NotFoundError","param":null,"code":404}}');
    }
    return request.stream ? stream(request, res) : reply(request, res);
}

// Starts it. `seen` holds every request that arrived.
export async function startUpstream() {
    const seen = [];
    const server = createServer(async (req, res) => {
        const chunks = [];
        for await (const chunk of req) {
            chunks.push(chunk);
        }
        const body = Buffer.concat(chunks).toString();
        seen.push({ url: req.url, headers: req.headers, body, closed: once(res, 'close') });
        await answer(req, res, body);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return {
        port: server.address().port,
        seen,
        async stop() {
            server.closeAllConnections();
            server.close();
            await once(server, 'close');
        },
    };
}
