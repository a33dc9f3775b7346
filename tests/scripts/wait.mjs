#!/usr/bin/env node
// wait.mjs PORT broker|device|Prometheus PID...: waits until our broker or Prometheus (the first PID) listens
// and answers, or until a device is online; gives up when one of the processes has ended, or after 30 s.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const [port, what, ...pids] = process.argv.slice(2);
const url = `http://127.0.0.1:${port}`;
const giveUpAt = Date.now() + 30_000;

function alive(pid) {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

// Somebody else's broker may answer on that port while ours is on its way to say so.
function listens(pid) {
  const hex = Number(port).toString(16).toUpperCase().padStart(4, '0');
  const inodes = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((field) => field[1]?.endsWith(`:${hex}`) && field[3] === '0A')
    .map((field) => `socket:[${field[9]}]`);
  return readdirSync(`/proc/${pid}/fd`).some((fd) => inodes.includes(readlinkSync(`/proc/${pid}/fd/${fd}`)));
}

async function ready() {
  try {
    if (what === 'broker') return listens(pids[0]) && (await fetch(`${url}/livez`)).ok;
    if (what === 'Prometheus') return listens(pids[0]) && (await fetch(`${url}/-/ready`)).ok;
    const { devices } = await (await fetch(`${url}/api/v1/devices`)).json();
    return devices.some((device) => device.state === 'online');
  } catch {
    return false; // not there yet
  }
}

async function check() {
  const there = await ready();
  if (!pids.every(alive)) process.exit(1);
  if (there) process.exit(0);
  if (Date.now() > giveUpAt) {
    console.error(`moorline: the ${what} did not come up within 30 s; its log stands above`);
    process.exit(1);
  }
}
setInterval(check, 100);
