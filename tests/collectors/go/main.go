// Sends one trace of three spans, and two spans of other kinds, with Go's OTLP exporters:
//
//	send grpc|http URL
package main

import (
	"context"
	"errors"
	"log"
	"math"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
)

func exporter(ctx context.Context, protocol, url string) (*otlptrace.Exporter, error) {
	if protocol == "grpc" {
		return otlptracegrpc.New(
			ctx, otlptracegrpc.WithEndpointURL(url), otlptracegrpc.WithCompressor("gzip"),
		)
	}
	return otlptracehttp.New(
		ctx,
		otlptracehttp.WithEndpointURL(url+"/v1/traces"),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
	)
}

func linked() api.SpanContext {
	traceID, _ := api.TraceIDFromHex("0af7651916cd43dd8448eb211c80319c")
	spanID, _ := api.SpanIDFromHex("b7ad6b7169203331")
	return api.NewSpanContext(
		api.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: api.FlagsSampled},
	)
}

func main() {
	ctx := context.Background()
	sender, err := exporter(ctx, os.Args[1], os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	provider := trace.NewTracerProvider(
		trace.WithBatcher(sender),
		trace.WithResource(resource.NewSchemaless(attribute.String("service.name", "shop"))),
	)
	tracer := provider.Tracer("go-client", api.WithInstrumentationVersion("1.0.0"))

	inRoot, root := tracer.Start(ctx, "POST /chat", api.WithSpanKind(api.SpanKindServer))
	_, chat := tracer.Start(
		inRoot,
		"chat gpt-4.1",
		api.WithSpanKind(api.SpanKindClient),
		api.WithLinks(api.Link{
			SpanContext: linked(), Attributes: []attribute.KeyValue{attribute.Bool("linked", true)},
		}),
	)
	chat.SetAttributes(
		attribute.String("text", "größer 🙂"),
		attribute.String("empty", ""),
		attribute.Bool("no", false),
		attribute.Int("zero", 0),
		attribute.Int64("large", math.MaxInt64),
		attribute.Int64("small", math.MinInt64),
		attribute.Float64("half", 0.5),
		attribute.Float64("whole", 2),
		attribute.StringSlice("texts", []string{"a", "", "b"}),
		attribute.BoolSlice("truths", []bool{true, false}),
		attribute.Int64Slice("numbers", []int64{1, -7}),
		attribute.Float64Slice("halves", []float64{0.5, 2}),
		attribute.StringSlice("none", []string{}),
		attribute.ByteSlice("bytes", []byte{0xff, 0x00}),
		attribute.Slice("mixed", attribute.StringValue("a"), attribute.Int64Value(1)),
		attribute.Map("map", attribute.Bool("yes", true), attribute.Float64("half", 0.5)),
	)
	chat.AddEvent("first token", api.WithAttributes(attribute.Int("index", 1)))
	chat.End()
	_, tool := tracer.Start(inRoot, "execute_tool")
	tool.RecordError(errors.New("no such order"))
	tool.SetStatus(codes.Error, "no such order")
	tool.End()
	root.SetStatus(codes.Ok, "")
	root.End()

	for name, kind := range map[string]api.SpanKind{
		"produce": api.SpanKindProducer, "consume": api.SpanKindConsumer,
	} {
		_, span := tracer.Start(ctx, name, api.WithSpanKind(kind), api.WithNewRoot())
		span.End()
	}
	if err := provider.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
}
