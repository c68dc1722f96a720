// The usage that Ollama's client reports.

import { Ollama } from 'ollama';

import { testUsage } from './usage.mjs';

const clientOf = ({ root, key, headers }) => new Ollama({ host: root, headers: { ...headers, Authorization: `Bearer ${key}` } });
const plain = (value) => JSON.parse(JSON.stringify(value));

const usageOf = (reply) => ({ prompt: reply.prompt_eval_count, completion: reply.eval_count });
const shows = ['prompt', 'completion'];
const calls = (message) => (message.tool_calls ?? []).map((call) => JSON.stringify(call.function.arguments)).join('');

const apis = {
    chat: {
        ask: (client, model, stream) => client.chat({ model, messages: [{ role: 'user', content: 'Hi' }], stream }),
        textOf: ({ message }) => (message.thinking ?? '') + message.content + calls(message),
    },
    generate: {
        ask: (client, model, stream) => client.generate({ model, prompt: 'Hi', stream }),
        textOf: ({ thinking, response }) => (thinking ?? '') + response,
    },
};

const cases = [];
for (const [api, { ask, textOf }] of Object.entries(apis)) {
    for (const model of api === 'chat' ? ['m1', 'tools', 'reasons', 'reasons.tools'] : ['m1', 'reasons']) {
        cases.push({
            name: `${api}-${model}`, path: `/api/${api}`, model, shows,
            async call(to) {
                const reply = plain(await ask(clientOf(to), model, false));
                return { text: textOf(reply), usage: usageOf(reply), parts: [reply] };
            },
        }, {
            name: `${api}-${model}-stream`, path: `/api/${api}`, model, stream: true, shows,
            async call(to) {
                const parts = [];
                for await (const part of await ask(clientOf(to), model, true)) {
                    parts.push(plain(part));
                }
                return { text: parts.map(textOf).join(''), usage: usageOf(parts.at(-1)), parts };
            },
        });
    }
}

cases.push({
    name: 'embed', path: '/api/embed', shows: ['prompt'], text: '0.25,-0.5,1;0.25,-0.5,1',
    async call(to) {
        const reply = plain(await clientOf(to).embed({ model: to.model, input: ['a', 'b'] }));
        return { text: reply.embeddings.join(';'), usage: { prompt: reply.prompt_eval_count }, parts: [reply] };
    },
});

testUsage(cases);
