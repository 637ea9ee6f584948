// Vercel's AI SDK with its provider for what is compatible with OpenAI: streams, and runs its tool by itself.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { stepCountIs, streamText, tool } from 'ai'
import { readFileSync } from 'node:fs'
import { z } from 'zod'

const [origin, token, model, question] = process.argv.slice(2)
const ours = createOpenAICompatible({
  name: 'ours',
  baseURL: `${origin}/v1`,
  apiKey: token,
  includeUsage: true,
})
const read_note = tool({
  description: 'Read a note.',
  inputSchema: z.object({ name: z.string() }),
  execute: async ({ name }) => readFileSync(name, 'utf8'),
})
const answer = streamText({
  model: ours(model),
  prompt: question,
  tools: { read_note },
  stopWhen: stepCountIs(4),
  maxRetries: 0,
  onError: ({ error }) => {
    throw error
  },
})
const text = await answer.text
const usage = await answer.totalUsage
if (!usage.inputTokens || !usage.outputTokens) throw new Error('no usage in the stream')
console.log(text)
