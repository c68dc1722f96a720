// The usage that Anthropic's client reports.

import Anthropic from '@anthropic-ai/sdk';

import { testUsage } from './usage.mjs';

const path = '/v1/messages';
const shows = ['prompt', 'cached', 'cacheWrite', 'completion', 'reasoning'];

const clientOf = ({ root, key, headers }) => new Anthropic({ baseURL: root, apiKey: key, defaultHeaders: headers, maxRetries: 0 });
const plain = (value) => JSON.parse(JSON.stringify(value));
const requestOf = ({ model }) => ({ model, max_tokens: 16, messages: [{ role: 'user', content: 'Hi' }] });

const usageOf = (usage) => ({
    prompt: usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens,
    cached: usage.cache_read_input_tokens, cacheWrite: usage.cache_creation_input_tokens,
    completion: usage.output_tokens, reasoning: usage.output_tokens_details.thinking_tokens,
});

// The arguments of a call as the upstream writes them, the client having read them.
const jsonOf = (value) => JSON.stringify(value);
const textOf = (content) => content.map((block) => block.thinking ?? block.text ?? jsonOf(block.input)).join('');
const deltaOf = (delta) => delta?.thinking ?? delta?.text ?? delta?.partial_json ?? '';

const cases = [];
for (const model of ['m1', 'tools', 'reasons', 'reasons.tools']) {
    cases.push({
        name: `messages-${model}`, path, model, shows,
        async call(to) {
            const message = plain(await clientOf(to).messages.create(requestOf(to)));
            return { text: textOf(message.content), usage: usageOf(message.usage), parts: [message] };
        },
    }, {
        name: `messages-${model}-stream`, path, model, stream: true, shows,
        async call(to) {
            const parts = [];
            for await (const event of await clientOf(to).messages.create({ ...requestOf(to), stream: true })) {
                parts.push(plain(event));
            }
            const { usage } = parts.find(({ type }) => type === 'message_delta');
            return { text: parts.map(({ delta }) => deltaOf(delta)).join(''), usage: usageOf(usage), parts };
        },
    }, {
        name: `messages-${model}-helper`, path, model, stream: true, inject: 'continuous', shows,
        async call(to) {
            const message = plain(await clientOf(to).messages.stream(requestOf(to)).finalMessage());
            return { text: textOf(message.content), usage: usageOf(message.usage), parts: [message] };
        },
    });
}

testUsage(cases);
