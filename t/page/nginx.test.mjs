// The status page of a real gateway that is under load.

import { Gateway } from './gateway.mjs';
import { testStatusPage } from './suite.mjs';

const keys = 10000;

testStatusPage('a gateway with 10,000 keys', async () => {
    const gateway = new Gateway({ keys });
    await gateway.start();
    gateway.keys = keys;
    try {
        await gateway.useAllKeys();
        gateway.startLoad();
    } catch (error) {
        await gateway.stop().catch(() => {});
        throw error;
    }
    return gateway;
}, 'nginx-');
