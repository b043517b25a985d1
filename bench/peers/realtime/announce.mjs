// Listens on a free port and says where, in one line on standard output, for the benchmark to read.

export function announce(server) {
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
    const { address, port } = server.address();
    console.log(JSON.stringify({ address: `${address}:${port}` }));
  });
}
