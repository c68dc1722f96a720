// What is answered to a request. It hangs on nothing but the request, so that the same one has the same answer with the gateway in
// between and without it.

import { createHash } from 'node:crypto';

// With text that a careless reader takes for the stream's own.
export const words = [
    'Grüße', ' from', ' the', ' "model"', ' \u{1F680}', '\nand', ' {"usage":{"prompt_tokens":3}}', '\n\ndata: [DONE]\n\n', ' bye', '.',
];
export const text = words.join('');

export const thoughts = ['Let me', ' think\u2026', ' "usage":'];

const argumentPieces = ['{"usage":', '{"prompt_tokens":3,"completion_tokens":4},', '"city":"Zürich"}'];
const json = argumentPieces.join('');
export const tool = { id: 'call_1', name: 'lookup', pieces: argumentPieces, json, value: JSON.parse(json) };

// The numbers of one kind of tokens are in a range of their own.
function tokensOf(id) {
    const hash = createHash('sha256').update(id).digest();
    const between = (begin, end, at) => begin + hash.readUInt32BE(at) % (end - begin);
    return {
        prompt: between(5000, 9999, 0), cached: between(2000, 2999, 4), cacheWrite: between(1000, 1499, 8),
        completion: between(300, 999, 12), reasoning: between(100, 299, 16),
    };
}

// What each API tells of them.
const told = {
    '/v1/embeddings': ['prompt'], '/api/embed': ['prompt'],
    '/api/chat': ['prompt', 'completion'], '/api/generate': ['prompt', 'completion'],
    ...Object.fromEntries([':generateContent', ':streamGenerateContent', ':streamGenerateContent?alt=sse']
        .map((path) => [path, ['prompt', 'cached', 'completion', 'reasoning']])),
    ':embedContent': ['prompt'], ':batchEmbedContents': ['prompt'], ':countTokens': [],
};

// Of the request to this path that has this X-Test header. `total` is what it costs.
export function usageOf(path, id) {
    const known = told[path] ?? ['prompt', 'cached', 'cacheWrite', 'completion', 'reasoning'];
    const tokens = { prompt: 0, cached: 0, cacheWrite: 0, completion: 0, reasoning: 0 };
    for (const [name, count] of Object.entries(tokensOf(id))) {
        tokens[name] = known.includes(name) ? count : 0;
    }
    return { ...tokens, total: tokens.prompt + tokens.completion };
}

// A model's name is a list of what it does: `openai` as its API does where vLLM does it in another way, `tools` calls one, `reasons`
// before it answers, `breaks` after its first word, `never-ends`, `runs-on`.
export function planOf(path, headers, request) {
    const is = new Set(request.model.split('.'));
    return { path, request, is: (what) => is.has(what), tokens: usageOf(path, headers['x-test'] ?? '') };
}
