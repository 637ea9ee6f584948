// Anthropic's SDK for Node: streams, and answers the tool calls that come.
import Anthropic from '@anthropic-ai/sdk'
import { readFileSync } from 'node:fs'

const [origin, token, model, question] = process.argv.slice(2)
const client = new Anthropic({ baseURL: origin, apiKey: token, maxRetries: 0 })
const input_schema = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] }
const tools = [{ name: 'read_note', description: 'Read a note.', input_schema }]
const messages = [{ role: 'user', content: question }]

for (;;) {
  const stream = client.messages.stream({ model, max_tokens: 1000, messages, tools })
  const message = await stream.finalMessage()
  if (!message.usage.input_tokens || !message.usage.output_tokens) throw new Error('no usage in the stream')
  messages.push({ role: 'assistant', content: message.content })
  const calls = message.content.filter((block) => block.type === 'tool_use')
  if (!calls.length) {
    console.log(message.content.map((block) => block.text ?? '').join(''))
    break
  }
  const content = calls.map(({ id, input }) => ({
    type: 'tool_result',
    tool_use_id: id,
    content: readFileSync(input.name, 'utf8'),
  }))
  messages.push({ role: 'user', content })
}
