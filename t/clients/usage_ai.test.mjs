// The usage that the AI SDK reports, which asks for it by itself.

import { createOpenAI } from '@ai-sdk/openai';
import { embedMany, generateText, jsonSchema, streamText, tool } from 'ai';

import { testUsage } from './usage.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;

const all = ['prompt', 'cached', 'completion', 'reasoning', 'total'];

const providerOf = ({ root, key, headers }) => createOpenAI({ baseURL: `${root}/v1`, apiKey: key, headers });
const settings = (model) => ({
    model, prompt: 'Hi', maxRetries: 0,
    tools: { lookup: tool({ description: 'Looks a city up.', inputSchema: jsonSchema({ type: 'object' }) }) },
});

const usageOf = (usage) => ({
    prompt: usage.inputTokens, cached: usage.inputTokenDetails.cacheReadTokens, completion: usage.outputTokens,
    reasoning: usage.outputTokenDetails.reasoningTokens, total: usage.totalTokens,
});

async function seenOf(result) {
    const [reasoning, text, calls, finishReason, usage] = await Promise.all(
        [result.reasoningText, result.text, result.toolCalls, result.finishReason, result.usage]);
    return {
        text: (reasoning ?? '') + text + calls.map(({ input }) => JSON.stringify(input)).join(''),
        usage: usageOf(usage), parts: [{ finishReason, calls: calls.map(({ toolName }) => toolName) }],
    };
}

const generate = (kind) => async (to) => seenOf(await generateText(settings(providerOf(to)[kind](to.model))));
const stream = (kind) => async (to) => {
    const result = streamText(settings(providerOf(to)[kind](to.model)));
    const deltas = [];
    for await (const part of result.fullStream) {
        if (part.type === 'error') {
            throw part.error;
        }
        if (part.type.endsWith('-delta')) {
            deltas.push(part.text ?? part.delta);
        }
    }
    const seen = await seenOf(result);
    return { ...seen, text: deltas.join(''), parts: [...seen.parts, deltas] };
};

const cases = [];
for (const [kind, path, shows, models] of [
    ['chat', '/v1/chat/completions', all, ['m1', 'openai', 'tools']],
    ['responses', '/v1/responses', all, ['m1', 'openai', 'tools', 'reasons', 'reasons.tools']],
    ['completion', '/v1/completions', ['prompt', 'completion', 'total'], ['m1', 'openai']],
]) {
    for (const model of models) {
        cases.push(
            { name: `${kind}-${model}`, path, model, shows, call: generate(kind) },
            { name: `${kind}-${model}-stream`, path, model, stream: true, shows, call: stream(kind) },
            { name: `${kind}-${model}-continuous`, path, model, stream: true, inject: 'continuous', shows, call: stream(kind) },
        );
    }
}

cases.push({
    name: 'embeddings', path: '/v1/embeddings', shows: ['prompt'], text: '0.25,-0.5,1;0.25,-0.5,1',
    async call(to) {
        const { embeddings, usage } = await embedMany({ model: providerOf(to).embedding(to.model), values: ['a', 'b'], maxRetries: 0 });
        return { text: embeddings.join(';'), usage: { prompt: usage.tokens }, parts: embeddings };
    },
});

testUsage(cases);
