// OpenAI's SDK for Node on Responses: streams, and answers the tool calls that come.
import OpenAI from 'openai'
import { readFileSync } from 'node:fs'

const [origin, token, model, question] = process.argv.slice(2)
const client = new OpenAI({ baseURL: `${origin}/v1`, apiKey: token, maxRetries: 0 })
const parameters = {
  type: 'object',
  properties: { name: { type: 'string' } },
  required: ['name'],
  additionalProperties: false,
}
const tools = [{ type: 'function', name: 'read_note', description: 'Read a note.', parameters, strict: true }]
const input = [{ role: 'user', content: question }]

for (;;) {
  const response = await client.responses
    .stream({ model, input, tools, store: false })
    .finalResponse()
  if (!response.usage?.total_tokens) throw new Error('no usage in the stream')
  input.push(...response.output.map(({ parsed_arguments, ...item }) => item))
  const calls = response.output.filter((item) => item.type === 'function_call')
  if (!calls.length) {
    console.log(response.output_text)
    break
  }
  for (const call of calls) {
    const { name } = JSON.parse(call.arguments)
    input.push({ type: 'function_call_output', call_id: call.call_id, output: readFileSync(name, 'utf8') })
  }
}
