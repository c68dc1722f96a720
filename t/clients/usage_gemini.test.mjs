// The usage that Google's client reports. It streams as events only, so that the array is read without it.

import { GoogleGenAI } from '@google/genai';

import { testUsage } from './usage.mjs';

const shows = ['prompt', 'cached', 'completion', 'reasoning', 'total'];

const clientOf = ({ root, key, headers }, apiVersion) => (
    new GoogleGenAI({ apiKey: key, apiVersion, httpOptions: { baseUrl: root, headers } }));
const requestOf = ({ model }) => ({ model, contents: 'Hi' });

// Without what the client adds of the reply's header.
const plain = ({ sdkHttpResponse, ...response }) => JSON.parse(JSON.stringify(response));

// Results of tools are beside the prompt, and thoughts beside the candidates. What was cached is part of the prompt.
const usageOf = (usage) => ({
    prompt: usage.promptTokenCount + (usage.toolUsePromptTokenCount ?? 0), cached: usage.cachedContentTokenCount,
    completion: usage.candidatesTokenCount + usage.thoughtsTokenCount, reasoning: usage.thoughtsTokenCount, total: usage.totalTokenCount,
});

const textOf = (responses) => responses.flatMap(({ candidates }) => candidates[0].content.parts ?? [])
    .map((part) => part.text ?? JSON.stringify(part.functionCall.args)).join('');

const seenOf = (responses) => ({ text: textOf(responses), usage: usageOf(responses.at(-1).usageMetadata), parts: responses });

async function readArray({ root, key, headers, model }, query = '') {
    const response = await fetch(`${root}/v1beta/models/${model}:streamGenerateContent${query}`, {
        method: 'POST', body: '{"contents":[{"parts":[{"text":"Hi"}]}]}',
        headers: { ...headers, 'content-type': 'application/json', 'x-goog-api-key': key },
    });
    return seenOf(await response.json());
}

// One that the path says, in its version of the API.
const generate = (apiVersion) => async (to) => seenOf([plain(await clientOf(to, apiVersion).models.generateContent(requestOf(to)))]);
const stream = (apiVersion) => async (to) => {
    const responses = [];
    for await (const response of await clientOf(to, apiVersion).models.generateContentStream(requestOf(to))) {
        responses.push(plain(response));
    }
    return seenOf(responses);
};

const cases = [];
for (const model of ['m1', 'tools', 'reasons', 'reasons.tools', 'searches', 'tells-late', 'lf']) {
    cases.push(
        { name: `gemini-${model}`, path: ':generateContent', model, shows, call: generate() },
        { name: `gemini-${model}-stream`, path: ':streamGenerateContent?alt=sse', model, stream: true, shows, call: stream() },
        { name: `gemini-${model}-array`, path: ':streamGenerateContent', model, stream: true, shows, call: readArray },
    );
}
cases.push(
    { name: 'gemini-v1', path: ':generateContent', model: 'm1', shows, call: generate('v1') },
    { name: 'gemini-v1-stream', path: ':streamGenerateContent?alt=sse', model: 'm1', stream: true, shows, call: stream('v1') },
    // There is nothing to ask for.
    {
        name: 'gemini-continuous', path: ':streamGenerateContent?alt=sse', model: 'm1', stream: true, inject: 'continuous', shows,
        call: stream(),
    },
    { name: 'gemini-off', path: ':streamGenerateContent?alt=sse', model: 'm1', stream: true, inject: 'off', shows, call: stream() },
    { name: 'gemini-tuned', path: ':generateContent', model: 'tunedModels/m1', shows, call: generate() },
    {
        name: 'gemini-array-query', path: ':streamGenerateContent', model: 'm1', stream: true, shows,
        call: (to) => readArray(to, '?alt=json'),
    },
    {
        // The client asks for a batch, and leaves out what it took.
        name: 'gemini-embed', path: ':batchEmbedContents', model: 'counts', text: '0.25,-0.5,1;0.25,-0.5,1',
        async call(to) {
            const { embeddings } = plain(await clientOf(to).models.embedContent({ model: to.model, contents: ['a', 'b'] }));
            return { text: embeddings.map(({ values }) => values).join(';'), parts: embeddings };
        },
    },
);

testUsage(cases);
