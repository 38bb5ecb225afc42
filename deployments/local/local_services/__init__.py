"""Real PostgreSQL, Redis, RabbitMQ and Kafka on loopback, without containers; standard library only."""
