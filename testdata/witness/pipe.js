// Node's own ways to Windows pipes: pipe.js MODE PIPE. A client gets back what it sends; a server sends back what it gets.
'use strict';
const net = require('net');
const [mode, path] = process.argv.slice(2);

function client() {
  const big = Buffer.alloc(200000, 'node');
  const trips = 1000;
  let got = 0;
  let trip = 0;
  const c = net.connect(path, () => c.write(big));
  c.on('data', (data) => {
    got += data.length;
    if (got < big.length) return;
    if (got !== big.length + 5 * trip) return;
    if (trip++ < trips) c.write('small');
    else c.end();
  });
  c.on('close', (failed) => {
    if (failed || trip !== trips + 1) {
      console.log('closed after', got, 'bytes and', trip, 'trips');
      process.exit(1);
    }
    console.log('ok');
  });
  c.on('error', (err) => console.log(err.code, err.message));
}

function server() {
  net.createServer((c) => c.pipe(c)).listen(path, () => console.log('ready'));
}

// nobody: the error that a program meets where nobody listens.
function nobody() {
  net.connect(path).on('error', (err) => console.log(err.code === 'ENOENT' ? 'ok' : err.code));
}

({ client, server, nobody })[mode]();
