// Node's own http module, as its documentation shows it, with the bytes of scenario hello.
import { createServer } from "node:http";

const [port, body] = process.argv.slice(2);
const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };

createServer((request, response) => {
    response.writeHead(request.url === "/hello" ? 200 : 404, headers);
    response.end(body);
}).listen(Number(port), "127.0.0.1");
