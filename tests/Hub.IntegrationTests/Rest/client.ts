// A client as its user would write it: types from the description, calls by path. Arguments: address, host, credential.
import createClient from 'openapi-fetch';
import type { components, paths } from './hub.js';

declare const process: { argv: string[]; stdout: { write(text: string): void }; exitCode: number };

type HostTask = components['schemas']['hub.v1.HostTask'];

async function main([baseUrl, hostId, token]: string[]): Promise<void> {
  const hub = createClient<paths>({ baseUrl: baseUrl.replace(/\/$/, ''), headers: { Authorization: `Bearer ${token}` } });
  const say = (text: string) => process.stdout.write(`${text}\n`);

  const { data: host, error: refused } = await hub.GET('/api/hosts/{hostId}', { params: { path: { hostId } } });
  if (refused) {
    throw new Error(refused.error);
  }

  say(`${host.host?.name} ${host.host?.id}`);

  const task: HostTask = { id: 't1', title: 'write the client', status: 'todo', updatedAt: '2026-01-01T00:00:00Z' };
  const { data: synced } = await hub.POST('/api/hosts/{hostId}/tasks/sync', { params: { path: { hostId } }, body: { tasks: [task] } });
  say(`synced ${synced?.synced}`);

  const where = { path: { hostId, taskId: 't1' } };
  const { data: found, response } = await hub.GET('/api/hosts/{hostId}/tasks/{taskId}', { params: where });
  say(`${found?.task?.title} ${found?.task?.status}`);

  const again = await hub.GET('/api/hosts/{hostId}/tasks/{taskId}', {
    params: { ...where, header: { 'If-None-Match': response.headers.get('etag') ?? '' } },
  });
  say(again.response.status === 304 ? 'not modified' : `status ${again.response.status}`);

  const { error } = await hub.GET('/api/hosts/{hostId}/tasks/{taskId}', { params: { path: { hostId, taskId: 'none' } } });
  say(error?.reason ?? 'no error');

  // @ts-expect-error A body of another type does not compile.
  void (() => hub.POST('/api/hosts/{hostId}/tasks/sync', { params: { path: { hostId } }, body: { tasks: 1 } }));
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stdout.write(`${error}\n`);
  process.exitCode = 1;
});
