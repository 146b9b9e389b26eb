"""What the scripts have in common that ask a shell through the official package; where it is, they find in the environment."""

import os

import openai

ASK = [{"role": "user", "content": "Is the gate open?"}]


def client(key):
    return openai.OpenAI(api_key=key, base_url=os.environ["BASE_URL"], max_retries=0)


def refused(kind, ask):
    try:
        ask()
    except kind as error:
        return error
    raise AssertionError(f"not refused by {kind}")


def check_refusals(known, model):
    """Each refusal is the exception that users catch."""
    error = refused(openai.AuthenticationError, lambda: client("tg_nobody").models.list())
    assert error.code == "invalid_api_key"
    error = refused(openai.NotFoundError, lambda: known.chat.completions.create(model="gpt-5", messages=ASK))
    assert error.code == "model_not_found"
    error = refused(openai.BadRequestError, lambda: known.chat.completions.create(model=model, messages=ASK, n=0))
    assert error.param == "n", error
