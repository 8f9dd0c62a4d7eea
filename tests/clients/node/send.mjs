// Sends one trace of three spans with one of Node's OTLP exporters:
//   node send.mjs http|proto|grpc URL none|gzip
import { SpanKind, SpanStatusCode, TraceFlags, context, trace } from '@opentelemetry/api';
import { OTLPTraceExporter as Grpc } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as Json } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as Proto } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';

const [kind, url, compression] = process.argv.slice(2);
const Exporter = { grpc: Grpc, http: Json, proto: Proto }[kind];
const exporter = new Exporter({ url, compression });
const provider = new TracerProvider({
  resource: resourceFromAttributes({ 'service.name': 'shop', 'service.version': '2.4.0' }),
  spanProcessors: [new BatchSpanProcessor({ exporter })],
});
const tracer = provider.getTracer('node-client', '1.0.0');

const root = tracer.startSpan('POST /chat', { kind: SpanKind.SERVER });
const inRoot = trace.setSpan(context.active(), root);
const chat = tracer.startSpan(
  'chat gpt-4.1',
  {
    kind: SpanKind.CLIENT,
    links: [
      {
        context: { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: TraceFlags.SAMPLED },
        attributes: { linked: true },
      },
    ],
  },
  inRoot,
);
chat.setAttributes({
  text: 'größer 🙂',
  empty: '',
  no: false,
  zero: 0,
  whole: 42,
  large: Number.MAX_SAFE_INTEGER,
  negative: -7,
  half: 0.5,
  texts: ['a', 'b'],
  numbers: [1, 2.5],
});
chat.addEvent('first token', { index: 1 });
chat.end();
const tool = tracer.startSpan('execute_tool', {}, inRoot);
tool.recordException({ name: 'LookupError', message: 'no such order' });
tool.setStatus({ code: SpanStatusCode.ERROR, message: 'no such order' });
tool.end();
root.end();
await provider.shutdown();
