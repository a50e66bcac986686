// Publishes a click of one customer as JSON: node publish.js [BROKERS [CUSTOMER]]

import { randomUUID } from "node:crypto";
import { Kafka, Partitioners, logLevel } from "kafkajs";

const [brokers = "localhost:9092", customer = "ada"] = process.argv.slice(2);
const kafka = new Kafka({ clientId: "shop", brokers: brokers.split(","), logLevel: logLevel.ERROR });
// The Java client's partitioner. All producers must use one, or a customer's records part.
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent: true });

await producer.connect();
await producer.send({
  topic: "clicks",
  messages: [
    {
      key: customer,
      value: JSON.stringify({
        type: "click",
        event_id: randomUUID(),
        customer_id: customer,
        occurred_at: Date.now(),
        page: "product",
        category: "running",
      }),
    },
  ],
});
await producer.disconnect();
console.log(`a click of ${customer} is published`);
