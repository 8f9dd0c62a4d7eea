"""The only writer: takes OTLP over gRPC and HTTP, and answers once it is stored."""
