/**
 * The JSON of plugins/pages.py, whose docstrings explain the fields. Times are ISO 8601 texts.
 *
 * @typedef {"pending" | "success" | "partial" | "failed"} Outcome
 *
 * @typedef {object} Problem
 * @property {string} kind
 * @property {string} message
 *
 * @typedef {object} Media
 * @property {string} id
 * @property {string} name
 * @property {"video" | "image" | "audio" | "file"} kind
 * @property {string | null} content_type
 * @property {string | null} url
 * @property {string | null} thumbnail_url
 * @property {string | null} premiere_url
 *
 * @typedef {object} NodeProgress
 * @property {number} completed
 * @property {number} in_progress
 * @property {number} failed
 * @property {number} total
 *
 * @typedef {object} Tile
 * @property {string} name
 * @property {string} status
 * @property {string | null} message
 * @property {boolean} needs_credits
 *
 * @typedef {object} Run
 * @property {string} id
 * @property {string | null} agent_id
 * @property {string | null} agent_name
 * @property {string} status
 * @property {Outcome} outcome
 * @property {string | null} status_message
 * @property {string | null} started_at
 * @property {string | null} ended_at
 * @property {boolean} needs_credits
 * @property {NodeProgress} nodes
 * @property {Tile[]} tiles
 * @property {Media[]} inputs
 * @property {Media[]} outputs
 * @property {string | null} editor_url
 *
 * @typedef {object} PostDestination
 * @property {string | null} platform
 * @property {string | null} account
 * @property {string | null} status
 * @property {string | null} url
 * @property {string | null} error
 * @property {Record<string, number>} metrics
 *
 * @typedef {object} Post
 * @property {string} id
 * @property {string} status
 * @property {Outcome} outcome
 * @property {string | null} text
 * @property {string | null} scheduled_at
 * @property {string | null} created_at
 * @property {PostDestination[]} destinations
 *
 * @typedef {object} Action
 * @property {"cancel" | "resume"} name
 * @property {string} label
 * @property {string} url
 * @property {string} cost
 *
 * @typedef {object} TaskPage
 * @property {string} task_id
 * @property {Problem | null} problem
 * @property {Run | null} run
 * @property {Post | null} post
 * @property {Media | null} asset
 * @property {string | null} read_at
 * @property {number | null} refresh_after Seconds.
 * @property {Action[]} actions
 * @property {string | null} csrf_token
 *
 * @typedef {object} ActionResult
 * @property {boolean} done
 * @property {string} message
 *
 * @typedef {object} Card
 * @property {"run" | "post" | "asset"} kind
 * @property {string} dag_id
 * @property {string} run_id
 * @property {string} task_id
 * @property {number} map_index
 * @property {string | null} map_label
 * @property {string} item_id
 * @property {string | null} agent_id
 * @property {string | null} state
 * @property {string | null} task_state
 * @property {boolean} needs_credits
 * @property {string} started_at
 * @property {number | null} duration Seconds.
 * @property {string} page_url
 * @property {string} airflow_url
 * @property {string | null} thumbnail_url
 * @property {boolean} has_media
 *
 * @typedef {object} LastNight
 * @property {1 | 7} days
 * @property {"run" | "post" | "asset" | "all"} kind
 * @property {number} page
 * @property {number} pages
 * @property {number} total
 * @property {boolean} truncated
 * @property {Record<string, number>} states
 * @property {Card[]} cards
 * @property {{kinds: string[], dag_ids: string[], agent_ids: string[], states: string[]}} choices
 */

export {};
