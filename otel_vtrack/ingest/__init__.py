"""The only writer: accepts OTLP over gRPC and HTTP, and responds once it is stored."""
