// Have a farm compile a model, from Node.js 20 or later.
//
//     npm install
//     . farm/env
//     node publish.js digits.onnx nucleo-l4r5zi digits.zip farm/keys/builder-*.pub
//
// Ends with 0 for a module, 2 if the request was rejected (stderr says why), 1 for anything else.

import { createHash, createPublicKey, randomUUID, verify } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand, NoSuchKey, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import amqp from 'amqplib';

const INLINE = 48 * 1024 - 1; // bytes that may travel inside the message; larger files are uploaded
const env = process.env;
const tenant = env.TINYMLAAS_TENANT ?? 'default';
const prefix = env.TINYMLAAS_QUEUE_PREFIX ?? '';
const Bucket = env.TINYMLAAS_S3_BUCKET;
const s3 = new S3Client({
  endpoint: env.TINYMLAAS_S3_ENDPOINT,
  region: env.AWS_DEFAULT_REGION ?? 'us-east-1',
  forcePathStyle: true,
  requestChecksumCalculation: 'WHEN_REQUIRED', // servers other than AWS know no others
  responseChecksumValidation: 'WHEN_REQUIRED',
});

const sha256 = (data) => createHash('sha256').update(data).digest('hex');

// The model as a request names it: inline, or by the place where it was uploaded.
async function payload(data) {
  const digest = sha256(data);
  if (data.length <= INLINE) return { digest, inline: data.toString('base64') };
  const reference = `tenants/${tenant}/blobs/${digest}`;
  await s3.send(new PutObjectCommand({ Bucket, Key: reference, Body: data }));
  return { digest, reference };
}

// Publish the request, a CloudEvent whose id is the job's, and return the job's final event.
async function ask(request) {
  const connection = await amqp.connect(env.TINYMLAAS_AMQP_URL);
  try {
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue(`reply.${randomUUID()}`, { exclusive: true });
    const answer = new Promise((resolve, reject) => {
      connection.on('error', reject);
      connection.on('close', () => reject(new Error('the connection is gone')));
      channel.on('error', reject);
      channel.on('return', () => reject(new Unroutable('nobody takes requests: is a farm there?')));
      channel.consume(queue, (message) => {
        const event = JSON.parse(message.content);
        const ours = event.type === 'tinymlaas.job.result.v1' && event.data.job_id === request.id;
        if (ours) resolve(event.data);
      }, { noAck: true }).catch(reject);
    });
    answer.catch(() => {}); // it may fail before it is awaited below
    const body = Buffer.from(JSON.stringify(request));
    channel.publish(`${prefix}tinymlaas.requests`, `compile.${tenant}`, body,
      { contentType: 'application/cloudevents+json', persistent: true, mandatory: true, replyTo: queue });
    await Promise.race([channel.waitForConfirms(), answer]);
    // From here on the job is not lost, whatever dies.
    console.log(`sent: job ${request.id}`);
    return await answer;
  } finally {
    await connection.close().catch(() => {});
  }
}

class Unroutable extends Error {}

// Whether trying again would not help: RabbitMQ does not let us in, or has no farm.
const refused = (error) =>
  error instanceof Unroutable || /40[34] \((ACCESS.REFUSED|NOT.FOUND)\)/.test(error.message);

// A lost connection costs nothing: the same request again finds its job, or the job's end.
async function askUntilAnswered(request) {
  for (;;) {
    try {
      return await ask(request);
    } catch (error) {
      if (refused(error)) throw error;
      console.error(`connecting again: ${error.message}`);
      await sleep(1000);
    }
  }
}

const get = async (Key) =>
  Buffer.from(await (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body.transformToByteArray());

// Return the module at `key`, if one of the keys in the files `trusted` has signed it.
async function verified(key, trusted) {
  const module = await get(key);
  for (const file of trusted) {
    const publicKey = createPublicKey(await readFile(file));
    const fingerprint = sha256(publicKey.export({ type: 'spki', format: 'der' }));
    const at = key.replace(/[^/]*$/, `provenance/${fingerprint}.intoto.jsonl`);
    let envelope;
    try {
      envelope = JSON.parse(await get(at));
    } catch (error) {
      if (error instanceof NoSuchKey) continue; // this key has not signed it
      throw error;
    }
    const statement = Buffer.from(envelope.payload, 'base64');
    const head = `DSSEv1 ${envelope.payloadType.length} ${envelope.payloadType} ${statement.length} `;
    const signature = Buffer.from(envelope.signatures[0].sig, 'base64');
    if (!verify('sha256', Buffer.concat([Buffer.from(head), statement]), publicKey, signature)) break;
    const says = JSON.parse(statement);
    const builder = basename(file, '.pub').replace('builder-', 'urn:tinymlaas:builder:') + ':v1';
    const named = says.subject.some(({ digest }) => digest.sha256 === sha256(module));
    if (named && says.predicate.runDetails.builder.id === builder) return module;
  }
  throw new Error('the module is not what a trusted key has signed');
}

async function main(modelFile, board, out, ...trusted) {
  const model = await payload(await readFile(modelFile));
  const end = await askUntilAnswered({
    specversion: '1.0', type: 'tinymlaas.compile.request.v1', source: '/publish.js', id: `js-${randomUUID()}`,
    data: { tenant, name: 'model', board, model },
  });
  if (end.state !== 'done') {
    console.error([`${end.state}:`, ...end.reasons].join('\n  '));
    return end.state === 'rejected' ? 2 : 1;
  }
  const module = await verified(end.result.module, trusted);
  await writeFile(out, module);
  console.log(`verified: ${out}, ${module.length} bytes`);
  return 0;
}

if (process.argv.length < 6) {
  console.error('usage: node publish.js MODEL BOARD OUT.zip KEY.pub…');
  process.exit(1);
}
if (!env.TINYMLAAS_AMQP_URL || !Bucket) {
  console.error('no farm: . farm/env sets TINYMLAAS_AMQP_URL and TINYMLAAS_S3_BUCKET');
  process.exit(1);
}
try {
  process.exit(await main(...process.argv.slice(2))); // a lost connection's socket would hold us back
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
