// The usage that the official OpenAI client reports.

import OpenAI from 'openai';

import { testUsage } from './usage.mjs';

const messages = [{ role: 'user', content: 'Hi' }];
const all = ['prompt', 'cached', 'completion', 'reasoning', 'total'];
const running = ['prompt', 'completion', 'total'];

const clientOf = ({ root, key, headers }) => new OpenAI({ baseURL: `${root}/v1`, apiKey: key, defaultHeaders: headers, maxRetries: 0 });
// Without what the client adds to it.
const plain = (value) => JSON.parse(JSON.stringify(value));

async function listOf(stream) {
    const parts = [];
    for await (const part of stream) {
        parts.push(plain(part));
    }
    return parts;
}

const chatUsage = (usage) => (usage ? {
    prompt: usage.prompt_tokens, cached: usage.prompt_tokens_details?.cached_tokens, completion: usage.completion_tokens,
    reasoning: usage.completion_tokens_details?.reasoning_tokens, total: usage.total_tokens,
} : undefined);

const responsesUsage = (usage) => ({
    prompt: usage.input_tokens, cached: usage.input_tokens_details.cached_tokens, completion: usage.output_tokens,
    reasoning: usage.output_tokens_details.reasoning_tokens, total: usage.total_tokens,
});

// Of a message, or of the delta of one.
const said = (message) => [message.reasoning_content, message.content, message.tool_calls?.map((call) => call.function.arguments).join('')]
    .map((part) => part ?? '').join('');
const sum = (texts) => texts.join('');

const apis = {
    chat: {
        path: '/v1/chat/completions',
        ask: (client, model, more) => client.chat.completions.create({ model, messages, ...more }),
        textOf: (choice) => said(choice.message),
        deltaOf: (choice) => said(choice.delta),
    },
    completions: {
        path: '/v1/completions',
        ask: (client, model, more) => client.completions.create({ model, prompt: 'Hi', ...more }),
        textOf: (choice) => choice.text,
        deltaOf: (choice) => choice.text,
    },
};

const whole = (api) => async (to) => {
    const reply = plain(await apis[api].ask(clientOf(to), to.model));
    return { text: apis[api].textOf(reply.choices[0]), usage: chatUsage(reply.usage), parts: [reply] };
};
const streamed = (api, stream_options) => async (to) => {
    const parts = await listOf(await apis[api].ask(clientOf(to), to.model, { stream: true, stream_options }));
    return {
        text: sum(parts.flatMap(({ choices }) => choices).map(apis[api].deltaOf)), usage: chatUsage(parts.at(-1).usage), parts,
    };
};

const ask = { include_usage: true };
const askRunning = { continuous_usage_stats: true };
const askContinuous = { include_usage: true, continuous_usage_stats: true };
const decline = { include_usage: false };
const cases = [];

for (const api of ['chat', 'completions']) {
    const { path } = apis[api];
    for (const model of ['m1', 'openai']) {
        cases.push(
            { name: `${api}-${model}`, path, model, shows: all, call: whole(api) },
            { name: `${api}-${model}-stream`, path, model, stream: true, shows: all, call: streamed(api, ask) },
            { name: `${api}-${model}-stream-unasked`, path, model, stream: true, asks: false, call: streamed(api) },
            { name: `${api}-${model}-stream-declined`, path, model, stream: true, asks: false, call: streamed(api, decline) },
            { name: `${api}-${model}-stream-off`, path, model, stream: true, inject: 'off', asks: false, call: streamed(api) },
        );
    }
    const inject = 'continuous';
    cases.push(
        { name: `${api}-continuous`, path, inject, shows: all, call: whole(api) },
        { name: `${api}-continuous-stream`, path, stream: true, inject, shows: all, call: streamed(api, ask) },
        { name: `${api}-continuous-stream-unasked`, path, stream: true, inject, asks: false, call: streamed(api) },
        // Who asks for running counts alone keeps them.
        { name: `${api}-running-asked`, path, stream: true, shows: running, call: streamed(api, askRunning) },
        { name: `${api}-running-asked-continuous`, path, stream: true, inject, shows: running, call: streamed(api, askRunning) },
        { name: `${api}-continuous-asked`, path, stream: true, shows: all, call: streamed(api, askContinuous) },
    );
}

for (const model of ['tools', 'reasons', 'reasons.tools']) {
    const { path } = apis.chat;
    cases.push(
        { name: `chat-${model}`, path, model, shows: all, call: whole('chat') },
        { name: `chat-${model}-stream`, path, model, stream: true, shows: all, call: streamed('chat', ask) },
        { name: `chat-${model}-stream-unasked`, path, model, stream: true, asks: false, call: streamed('chat') },
        { name: `chat-${model}-continuous`, path, model, stream: true, inject: 'continuous', asks: false, call: streamed('chat') },
    );
}

// The client's own reader of streams, which puts the reply together, and calls the functions.
const { path } = apis.chat;
const put = (more) => async (to) => {
    const reply = plain(await clientOf(to).chat.completions.stream({ model: to.model, messages, ...more }).finalChatCompletion());
    return { text: said(reply.choices[0].message), usage: chatUsage(reply.usage), parts: [reply] };
};
cases.push(
    { name: 'chat-helper', path, stream: true, shows: all, call: put({ stream_options: ask }) },
    { name: 'chat-helper-unasked', path, stream: true, asks: false, call: put() },
    { name: 'chat-helper-tools', path, model: 'tools', stream: true, shows: all, call: put({ stream_options: ask }) },
);

const output = (items) => sum(items.map((item) => ({
    reasoning: () => sum(item.summary.map((part) => part.text)),
    function_call: () => item.arguments,
    message: () => sum(item.content.map((part) => part.text)),
}[item.type]())));
const fromResponse = (response, parts) => ({ text: output(response.output), usage: responsesUsage(response.usage), parts });

for (const model of ['m1', 'openai', 'tools', 'reasons', 'reasons.tools']) {
    const path = '/v1/responses';
    const request = { model, input: 'Hi' };
    cases.push({
        name: `responses-${model}`, path, model, shows: all,
        async call(to) {
            const response = plain(await clientOf(to).responses.create(request));
            return fromResponse(response, [response]);
        },
    }, {
        name: `responses-${model}-stream`, path, model, stream: true, shows: all,
        async call(to) {
            const parts = await listOf(await clientOf(to).responses.create({ ...request, stream: true }));
            const { response } = parts.at(-1);
            return { ...fromResponse(response, parts), text: sum(parts.map((part) => part.delta ?? '')) };
        },
    }, {
        name: `responses-${model}-helper`, path, model, stream: true, inject: 'continuous', shows: all,
        async call(to) {
            const response = plain(await clientOf(to).responses.stream(request).finalResponse());
            return fromResponse(response, [response]);
        },
    });
}

for (const encoding_format of [undefined, 'float']) {
    cases.push({
        name: `embeddings-${encoding_format ?? 'base64'}`, path: '/v1/embeddings', shows: ['prompt', 'total'],
        text: '0.25,-0.5,1;0.25,-0.5,1',
        async call(to) {
            const reply = await clientOf(to).embeddings.create({ model: to.model, input: ['a', 'b'], encoding_format });
            return {
                text: reply.data.map(({ embedding }) => [...embedding].join(',')).join(';'),
                usage: { prompt: reply.usage.prompt_tokens, total: reply.usage.total_tokens }, parts: [reply.usage],
            };
        },
    });
}

testUsage(cases);
