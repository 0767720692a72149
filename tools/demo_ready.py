"""Tells by its exit status whether a part of the demo is up.

demo_ready.py consumer QUEUE    somebody consumes the queue, which is bound by then
demo_ready.py web URL           Odoo shows its login page
"""

import os
import sys
import urllib.request

import pika


def consumer_is_up(queue):
    try:
        connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
        with connection:
            answer = connection.channel().queue_declare(queue, passive=True)
            return answer.method.consumer_count > 0
    except (pika.exceptions.AMQPError, OSError):
        return False


def web_is_up(url):
    try:
        with urllib.request.urlopen(f"{url}/web/login", timeout=60) as answer:
            return answer.status == 200 and b'name="login"' in answer.read()
    except OSError:
        return False


if __name__ == "__main__":
    part, where = sys.argv[1:]
    is_up = {"consumer": consumer_is_up, "web": web_is_up}[part]
    sys.exit(not is_up(where))
