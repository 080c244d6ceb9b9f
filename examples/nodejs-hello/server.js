// The smallest Node.js app worth pushing: it greets, and tells for how long it has been up.
const http = require("http")
const ms = require("ms")

const port = process.env.PORT || 8080
const greeting = process.env.GREETING || "Hello"

const server = http.createServer((request, response) => {
  console.log(`${request.method} ${request.url}`)
  response.setHeader("Content-Type", "text/plain; charset=utf-8")
  response.end(`${greeting} from Flynn on port ${port}\nNode.js ${process.version}, up ${ms(process.uptime() * 1000)}\n`)
})

server.listen(port, () => console.log(`listening on port ${port}`))
process.on("SIGTERM", () => server.close(() => process.exit(0)))
