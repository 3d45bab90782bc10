"""The process in the guest that does what it is told: tests/e2e/guest/agent.c."""
from .lines import LinePeer


class AgentError(Exception):
    pass


class Agent(LinePeer):
    def wait_ready(self, timeout=60):
        """Waits until the guest has booted (again)."""
        while not self.receive(timeout).startswith('ready '):
            pass

    def run(self, *words, timeout=20):
        """Runs a command and returns the key=value words of its answer."""
        line = ' '.join(str(word) for word in words)
        self.send(line)
        answer = self.receive(timeout)
        if answer == 'ok' or answer.startswith('ok '):
            return dict(word.split('=', 1) for word in answer.split()[1:] if '=' in word)
        raise AgentError(f'{line!r}: {answer}')

    def tell(self, *words):
        """For commands that end the guest and so have no answer."""
        self.send(' '.join(str(word) for word in words))
