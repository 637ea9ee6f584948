// OpenAI's SDK for Node on Chat Completions: streams, and answers the tool calls that come.
import OpenAI from 'openai'
import { readFileSync } from 'node:fs'

const [origin, token, model, question] = process.argv.slice(2)
const client = new OpenAI({ baseURL: `${origin}/v1`, apiKey: token, maxRetries: 0 })
const parameters = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] }
const tools = [{ type: 'function', function: { name: 'read_note', description: 'Read a note.', parameters } }]
const messages = [{ role: 'user', content: question }]

for (;;) {
  const stream = client.chat.completions.stream({
    model,
    messages,
    tools,
    stream_options: { include_usage: true },
  })
  const message = await stream.finalMessage()
  const usage = await stream.totalUsage()
  if (!usage.total_tokens) throw new Error('no usage in the stream')
  messages.push(message)
  if (!message.tool_calls?.length) {
    console.log(message.content)
    break
  }
  for (const call of message.tool_calls) {
    const { name } = JSON.parse(call.function.arguments)
    messages.push({ role: 'tool', tool_call_id: call.id, content: readFileSync(name, 'utf8') })
  }
}
