// Sends one trace of three spans, and two spans of other kinds, with Java's OTLP exporters:
//
//     java -cp 'lib/*' Send.java grpc|http URL

import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.common.KeyValue;
import io.opentelemetry.api.common.Value;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.TraceFlags;
import io.opentelemetry.api.trace.TraceState;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.context.Context;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.export.SpanExporter;
import java.util.List;
import java.util.concurrent.TimeUnit;

class Send {
  static SpanExporter exporter(String protocol, String url) {
    if (protocol.equals("grpc")) {
      return OtlpGrpcSpanExporter.builder().setEndpoint(url).setCompression("gzip").build();
    }
    return OtlpHttpSpanExporter.builder()
        .setEndpoint(url + "/v1/traces")
        .setCompression("gzip")
        .build();
  }

  public static void main(String[] arguments) {
    SdkTracerProvider provider =
        SdkTracerProvider.builder()
            .setResource(
                Resource.create(Attributes.of(AttributeKey.stringKey("service.name"), "shop")))
            .addSpanProcessor(
                BatchSpanProcessor.builder(exporter(arguments[0], arguments[1])).build())
            .build();
    Tracer tracer = provider.get("java-client", "1.0.0");

    Span root = tracer.spanBuilder("POST /chat").setSpanKind(SpanKind.SERVER).startSpan();
    Context inRoot = Context.root().with(root);
    SpanContext linked =
        SpanContext.create(
            "0af7651916cd43dd8448eb211c80319c",
            "b7ad6b7169203331",
            TraceFlags.getSampled(),
            TraceState.getDefault());
    Span chat =
        tracer
            .spanBuilder("chat gpt-4.1")
            .setParent(inRoot)
            .setSpanKind(SpanKind.CLIENT)
            .addLink(linked, Attributes.of(AttributeKey.booleanKey("linked"), true))
            .startSpan();
    chat.setAttribute("text", "größer 🙂");
    chat.setAttribute("empty", "");
    chat.setAttribute("no", false);
    chat.setAttribute("zero", 0);
    chat.setAttribute("large", Long.MAX_VALUE);
    chat.setAttribute("small", Long.MIN_VALUE);
    chat.setAttribute("half", 0.5);
    chat.setAttribute("whole", 2.0);
    chat.setAttribute(AttributeKey.stringArrayKey("texts"), List.of("a", "", "b"));
    chat.setAttribute(AttributeKey.booleanArrayKey("truths"), List.of(true, false));
    chat.setAttribute(AttributeKey.longArrayKey("numbers"), List.of(1L, -7L));
    chat.setAttribute(AttributeKey.doubleArrayKey("halves"), List.of(0.5, 2.0));
    chat.setAttribute(AttributeKey.stringArrayKey("none"), List.of());
    chat.setAttribute(
        AttributeKey.valueKey("bytes"), Value.of(new byte[] {(byte) 0xff, (byte) 0x00}));
    chat.setAttribute(AttributeKey.valueKey("mixed"), Value.of(Value.of("a"), Value.of(1)));
    chat.setAttribute(
        AttributeKey.valueKey("map"),
        Value.of(KeyValue.of("yes", Value.of(true)), KeyValue.of("half", Value.of(0.5))));
    chat.addEvent("first token", Attributes.of(AttributeKey.longKey("index"), 1L));
    chat.end();
    Span tool = tracer.spanBuilder("execute_tool").setParent(inRoot).startSpan();
    tool.recordException(new IllegalStateException("no such order"));
    tool.setStatus(StatusCode.ERROR, "no such order");
    tool.end();
    root.setStatus(StatusCode.OK);
    root.end();

    tracer.spanBuilder("produce").setNoParent().setSpanKind(SpanKind.PRODUCER).startSpan().end();
    tracer.spanBuilder("consume").setNoParent().setSpanKind(SpanKind.CONSUMER).startSpan().end();
    boolean sent = provider.forceFlush().join(60, TimeUnit.SECONDS).isSuccess();
    provider.shutdown().join(10, TimeUnit.SECONDS);
    System.exit(sent ? 0 : 1);
  }
}
