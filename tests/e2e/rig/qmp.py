"""QEMU's machine protocol."""
import json
import time

from .lines import LinePeer, Silence


class QmpError(Exception):
    pass


class Qmp(LinePeer):
    def __init__(self, path):
        super().__init__(path)
        self.events = []

    def greet(self, timeout=20):
        json.loads(self.receive(timeout))
        self.run('qmp_capabilities')

    def run(self, command, timeout=20, **arguments):
        """Runs a command, returns its answer. Underscores in argument names stand for dashes."""
        message = {'execute': command,
                   'arguments': {k.replace('_', '-'): v for k, v in arguments.items()}}
        self.send(json.dumps(message))
        deadline = time.monotonic() + timeout
        while True:
            answer = json.loads(self.receive(deadline - time.monotonic()))
            if 'event' in answer:
                self.events.append(answer)
            elif 'error' in answer:
                raise QmpError(f'{command}: {answer["error"]["desc"]}')
            else:
                return answer['return']

    def wait_event(self, name, timeout=20, **data):
        """Waits for an event of this name with these data, and forgets all that came before it."""
        deadline = time.monotonic() + timeout
        while True:
            while self.events:
                event = self.events.pop(0)
                have = event.get('data', {})
                if event['event'] == name and all(have.get(k) == v for k, v in data.items()):
                    return event
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silence(f'no event {name} within {timeout} s')
            answer = json.loads(self.receive(left))
            if 'event' in answer:
                self.events.append(answer)
