"""Small network parts that several rooms share: an HTTP/1.1 client and an SSE parser."""
