// The usage that LangChain reports, which asks for it by itself.

import { ChatOpenAI, OpenAI, OpenAIEmbeddings } from '@langchain/openai';

import { testUsage } from './usage.mjs';

const all = ['prompt', 'cached', 'completion', 'reasoning', 'total'];

const settings = ({ root, key, headers, model }, more) => ({
    model, apiKey: key, maxRetries: 0, configuration: { baseURL: `${root}/v1`, defaultHeaders: headers }, ...more,
});

const usageOf = (usage) => (usage ? {
    prompt: usage.input_tokens, cached: usage.input_token_details?.cache_read, completion: usage.output_tokens,
    reasoning: usage.output_token_details?.reasoning, total: usage.total_tokens,
} : undefined);

// Without the numbers that LangChain makes up.
const partOf = ({ content, tool_calls, tool_call_chunks, usage_metadata, response_metadata }) => JSON.parse(JSON.stringify({
    content, tool_calls, tool_call_chunks, response_metadata, ...(usage_metadata && { usage: usage_metadata }) }));
const textOf = ({ content, tool_calls, tool_call_chunks }) => (
    (typeof content === 'string' ? content : content.map((part) => part.text).join(''))
    + (tool_call_chunks ?? tool_calls ?? []).map(({ args }) => (typeof args === 'string' ? args : JSON.stringify(args))).join(''));

const invoke = (more) => async (to) => {
    const message = await new ChatOpenAI(settings(to, more)).invoke('Hi');
    return { text: textOf(message), usage: usageOf(message.usage_metadata), parts: [partOf(message)] };
};
const stream = (more) => async (to) => {
    const parts = [];
    let whole;
    for await (const chunk of await new ChatOpenAI(settings(to, more)).stream('Hi')) {
        whole = whole ? whole.concat(chunk) : chunk;
        parts.push(chunk);
    }
    return { text: parts.map(textOf).join(''), usage: usageOf(whole.usage_metadata), parts: parts.map(partOf) };
};

const cases = [];
for (const model of ['m1', 'openai', 'tools']) {
    const path = '/v1/chat/completions';
    cases.push(
        { name: `chat-${model}`, path, model, shows: all, call: invoke() },
        { name: `chat-${model}-stream`, path, model, stream: true, shows: all, call: stream() },
        { name: `chat-${model}-unasked`, path, model, stream: true, asks: false, call: stream({ streamUsage: false }) },
    );
}
for (const inject of ['continuous', 'off']) {
    const path = '/v1/chat/completions';
    cases.push(
        { name: `chat-${inject}-stream`, path, inject, stream: true, shows: all, call: stream() },
        { name: `chat-${inject}-unasked`, path, inject, stream: true, asks: false, call: stream({ streamUsage: false }) },
    );
}
for (const model of ['m1', 'openai', 'tools']) {
    const path = '/v1/responses';
    const useResponsesApi = true;
    cases.push(
        { name: `responses-${model}`, path, model, shows: all, call: invoke({ useResponsesApi }) },
        { name: `responses-${model}-stream`, path, model, stream: true, shows: all, call: stream({ useResponsesApi }) },
    );
}

cases.push({
    name: 'completions', path: '/v1/completions', shows: ['prompt', 'completion', 'total'],
    async call(to) {
        const { generations, llmOutput } = await new OpenAI(settings(to)).generate(['Hi']);
        const { promptTokens, completionTokens, totalTokens } = llmOutput.tokenUsage;
        return {
            text: generations[0][0].text, usage: { prompt: promptTokens, completion: completionTokens, total: totalTokens },
            parts: [llmOutput.tokenUsage],
        };
    },
}, {
    name: 'completions-unasked', path: '/v1/completions', stream: true, asks: false,
    async call(to) {
        const parts = [];
        for await (const part of await new OpenAI(settings(to)).stream('Hi')) {
            parts.push({ part });
        }
        return { text: parts.map(({ part }) => part).join(''), parts };
    },
}, {
    name: 'embeddings', path: '/v1/embeddings', text: '0.25,-0.5,1;0.25,-0.5,1',
    async call(to) {
        const vectors = await new OpenAIEmbeddings(settings(to)).embedDocuments(['a', 'b']);
        return { text: vectors.join(';'), parts: vectors };
    },
});

testUsage(cases);
